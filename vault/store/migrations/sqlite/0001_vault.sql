-- The vault's state and its ledger. Times are Unix seconds unless a name says milliseconds.
-- Columns are what queries select by; the rest of a row is JSON in `row`. Where a column and the
-- JSON both have a value, the column counts.

CREATE TABLE vault (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    row        TEXT NOT NULL
) STRICT;

-- Numbers that grow with each change of a whole kind, so that a decision can name what it was made from.
CREATE TABLE generations (
    name       TEXT PRIMARY KEY,
    value      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO generations (name, value) VALUES ('policy', 0), ('references', 0);

CREATE TABLE sites (
    name       TEXT PRIMARY KEY,
    version    INTEGER NOT NULL,
    row        TEXT NOT NULL
) STRICT;

CREATE TABLE nodes (
    id          BLOB PRIMARY KEY,
    version     INTEGER NOT NULL,
    ak_sha256   BLOB NOT NULL UNIQUE,
    site        TEXT REFERENCES sites (name),
    enrolled_at INTEGER NOT NULL,
    row         TEXT NOT NULL
) STRICT;
CREATE INDEX nodes_by_time ON nodes (enrolled_at, id);

CREATE TABLE enrolments (
    id         BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL,
    node       BLOB,
    row        TEXT NOT NULL
) STRICT;
CREATE INDEX enrolments_waiting ON enrolments (expires_at) WHERE node IS NULL;

CREATE TABLE assets (
    name       TEXT PRIMARY KEY,
    version    INTEGER NOT NULL,
    row        TEXT NOT NULL
) STRICT;

CREATE TABLE keys (
    asset       TEXT NOT NULL REFERENCES assets (name),
    key_version INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    state       TEXT NOT NULL,
    row         TEXT NOT NULL,
    PRIMARY KEY (asset, key_version)
) STRICT;

CREATE TABLE reference_sets (
    name        TEXT NOT NULL,
    set_version INTEGER NOT NULL,
    row         TEXT NOT NULL,
    PRIMARY KEY (name, set_version)
) STRICT;

CREATE TABLE policies (
    digest      BLOB PRIMARY KEY,
    version     INTEGER NOT NULL,
    state       TEXT NOT NULL,
    approver    TEXT,
    proposed_at INTEGER NOT NULL,
    row         TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX policies_one_enforced ON policies (state) WHERE state = 'enforced';
CREATE INDEX policies_by_time ON policies (proposed_at);

CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    version      INTEGER NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE,
    revoked      INTEGER NOT NULL,
    row          TEXT NOT NULL
) STRICT;

CREATE TABLE leases (
    id               BLOB PRIMARY KEY,
    version          INTEGER NOT NULL,
    node             BLOB NOT NULL,
    statement_sha256 BLOB NOT NULL UNIQUE,
    state            TEXT NOT NULL,
    granted_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    reattest_at      INTEGER NOT NULL,
    delivered        INTEGER NOT NULL,
    row              TEXT NOT NULL
) STRICT;
CREATE INDEX leases_by_time ON leases (granted_at);
CREATE INDEX leases_live_by_node ON leases (node, expires_at) WHERE state = 'live';
CREATE INDEX leases_live_by_expiry ON leases (expires_at) WHERE state = 'live';
CREATE INDEX leases_undelivered ON leases (granted_at) WHERE state = 'live' AND delivered = 0;

-- What live leases hold; a lease's rows go when it closes, so that counting costs what lives.
CREATE TABLE held_keys (
    asset       TEXT NOT NULL,
    lease       BLOB NOT NULL REFERENCES leases (id),
    key_version INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (asset, lease, key_version)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_keys_by_lease ON held_keys (lease);

CREATE TABLE burnt_nonces (
    nonce      BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX burnt_nonces_by_expiry ON burnt_nonces (expires_at);

-- Evidence and claims, by content.
CREATE TABLE blobs (
    sha256     BLOB PRIMARY KEY,
    bytes      BLOB NOT NULL
) STRICT;

-- The ledger. `entry` is SHA-256(salt || record); salt and record may be pruned, the entry stays.
CREATE TABLE entries (
    idx        INTEGER PRIMARY KEY,
    entry      BLOB NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    time_ms    INTEGER NOT NULL,
    salt       BLOB,
    record     BLOB,
    CHECK ((salt IS NULL) = (record IS NULL))
) STRICT;
CREATE INDEX entries_by_time ON entries (time_ms);

-- The inverted index of records: one row for each thing that a query can ask of a record
-- (`action:release.decided`, `asset:minilm`, `reason:pcr_mismatch`), in the order of the log.
CREATE TABLE terms (
    term       TEXT NOT NULL,
    idx        INTEGER NOT NULL,
    PRIMARY KEY (term, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE tiles (
    level      INTEGER NOT NULL,
    idx        INTEGER NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT;

CREATE TABLE head (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    frontier   BLOB NOT NULL,
    time_ms    INTEGER NOT NULL,
    checkpoint TEXT NOT NULL
) STRICT;
