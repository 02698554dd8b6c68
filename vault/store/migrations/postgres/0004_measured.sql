-- What each node's kernel has measured since its present boot, as far as quotes covered it: what a later part
-- of its IMA log goes on from.
CREATE TABLE measured (
    node          bytea PRIMARY KEY,
    version       bigint NOT NULL,
    reset_count   bigint NOT NULL,
    restart_count bigint NOT NULL,
    state         bytea NOT NULL
);
