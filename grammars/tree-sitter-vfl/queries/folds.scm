[(party) (block) (fuse) (train) (schedule) (release) (record) (listed)] @fold
(comment)+ @fold
