; As Neovim reads them.
[(party) (block) (fuse) (train) (schedule) (release) (record) (listed) (call) (encoder)] @indent.begin
["}" ")" "]"] @indent.end @indent.branch
(comment) @indent.ignore
