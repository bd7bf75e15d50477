// What others than the extension itself call.
#pragma once

#define EXPORT extern "C" __attribute__((visibility("default")))
