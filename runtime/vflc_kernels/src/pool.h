// The threads of this process that share out operators' parts.
//
// One pool serves all sessions, and its threads stay awake for a moment after their last part: a step runs through
// several sessions, and each of them would have to wake threads of its own. onnxruntime's threads belong to a session.
#pragma once

#include <cstddef>

// Calls part(data, 0) … part(data, parts - 1), which throw nothing, in any order, by at most so many threads, the
// calling one among them. Returns when all are done. While another thread is in here the calling one does all itself.
void in_pool(std::size_t threads, std::size_t parts, void (*part)(void* data, std::size_t index), void* data);
