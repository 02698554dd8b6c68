-- What each node's kernel has measured since its present boot, as far as quotes covered it: what a later part
-- of its IMA log goes on from.
CREATE TABLE measured (
    node          BLOB PRIMARY KEY,
    version       INTEGER NOT NULL,
    reset_count   INTEGER NOT NULL,
    restart_count INTEGER NOT NULL,
    state         BLOB NOT NULL
) STRICT;
