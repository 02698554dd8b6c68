-- What vendors publish about their hardware, read offline. `row` tells of the bytes, so that a list costs no bytes.
CREATE TABLE endorsements (
    name                TEXT PRIMARY KEY,
    sha256              BLOB NOT NULL,
    removal_proposed_by TEXT,
    row                 TEXT NOT NULL,
    bytes               BLOB NOT NULL
) STRICT;

-- Roots that two persons pinned, beside those that come with the program.
CREATE TABLE pins (
    kind       TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    state      TEXT NOT NULL,
    approver   TEXT,
    row        TEXT NOT NULL,
    PRIMARY KEY (kind, sha256)
) STRICT;

INSERT INTO generations (name, value) VALUES ('endorsements', 0);
