-- The vault's state and its ledger. Times are Unix seconds unless a name says milliseconds.
-- Columns are what queries select by; the rest of a row is JSON in `content`, as text: it is read back
-- byte for byte. Where a column and the JSON both have a value, the column counts.
-- Text sorts by bytes, whatever the database's own collation is.

-- Seconds of the statement's beginning: one time within a statement, which an index can be searched by.
CREATE FUNCTION unix_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT floor(extract(epoch FROM statement_timestamp()))::bigint';

CREATE TABLE vault (
    only_row   smallint PRIMARY KEY CHECK (only_row = 1),
    content    text NOT NULL
);

-- Numbers that grow with each change of a whole kind, so that a decision can name what it was made from.
CREATE TABLE generations (
    name       text COLLATE "C" PRIMARY KEY,
    value      bigint NOT NULL
);
INSERT INTO generations (name, value) VALUES ('policy', 0), ('references', 0), ('tokens', 0);

CREATE TABLE sites (
    name       text COLLATE "C" PRIMARY KEY,
    version    bigint NOT NULL,
    content    text NOT NULL
);

CREATE TABLE nodes (
    id          bytea PRIMARY KEY,
    version     bigint NOT NULL,
    ak_sha256   bytea NOT NULL UNIQUE,
    site        text COLLATE "C" REFERENCES sites (name),
    enrolled_at bigint NOT NULL,
    content     text NOT NULL
);
CREATE INDEX nodes_by_time ON nodes (enrolled_at, id);

CREATE TABLE enrolments (
    id         bytea PRIMARY KEY,
    expires_at bigint NOT NULL,
    node       bytea,
    -- For whom, and from where, it waits: whoever begins many takes the place of its own.
    ek         bytea NOT NULL,
    source     text COLLATE "C" NOT NULL,
    content    text NOT NULL
);
CREATE INDEX enrolments_waiting ON enrolments (expires_at) WHERE node IS NULL;
CREATE INDEX enrolments_of_source ON enrolments (source, expires_at) WHERE node IS NULL;

CREATE TABLE assets (
    name       text COLLATE "C" PRIMARY KEY,
    version    bigint NOT NULL,
    content    text NOT NULL
);

CREATE TABLE keys (
    asset       text COLLATE "C" NOT NULL REFERENCES assets (name),
    key_version bigint NOT NULL,
    version     bigint NOT NULL,
    state       text NOT NULL,
    content     text NOT NULL,
    PRIMARY KEY (asset, key_version)
);

CREATE TABLE reference_sets (
    name        text COLLATE "C" NOT NULL,
    set_version bigint NOT NULL,
    content     text NOT NULL,
    PRIMARY KEY (name, set_version)
);

CREATE TABLE policies (
    digest      bytea PRIMARY KEY,
    place       bigint GENERATED ALWAYS AS IDENTITY,
    version     bigint NOT NULL,
    state       text NOT NULL,
    approver    text,
    proposed_at bigint NOT NULL,
    content     text NOT NULL
);
CREATE UNIQUE INDEX policies_one_enforced ON policies (state) WHERE state = 'enforced';
CREATE INDEX policies_by_time ON policies (proposed_at, place);

CREATE TABLE tokens (
    id           text COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL,
    token_sha256 bytea NOT NULL UNIQUE,
    revoked      boolean NOT NULL,
    expires_at   bigint NOT NULL,
    replaced_by  text,
    -- Told once a minute at the most, and no part of what guards compare.
    last_used_at bigint,
    content      text NOT NULL
);

CREATE TABLE leases (
    id               bytea PRIMARY KEY,
    version          bigint NOT NULL,
    node             bytea NOT NULL,
    statement_sha256 bytea NOT NULL UNIQUE,
    state            text NOT NULL,
    granted_at       bigint NOT NULL,
    expires_at       bigint NOT NULL,
    reattest_at      bigint NOT NULL,
    delivered        boolean NOT NULL,
    -- Empty once the lease is closed: nothing can be proved with it any more.
    wrapped_secret   bytea NOT NULL,
    content          text NOT NULL
);
CREATE INDEX leases_by_time ON leases (granted_at, id);
CREATE INDEX leases_live_by_node ON leases (node, expires_at) WHERE state = 'live';
CREATE INDEX leases_live_by_expiry ON leases (expires_at) WHERE state = 'live';
CREATE INDEX leases_undelivered ON leases (granted_at) WHERE state = 'live' AND NOT delivered;

-- What live leases hold; a lease's rows go when it closes, so that counting costs what lives.
CREATE TABLE held_keys (
    asset       text COLLATE "C" NOT NULL,
    lease       bytea NOT NULL REFERENCES leases (id),
    key_version bigint NOT NULL,
    expires_at  bigint NOT NULL,
    -- Whether the key of the whole version is held, rather than of objects or a writer.
    whole       boolean NOT NULL,
    PRIMARY KEY (asset, lease, key_version)
);
CREATE INDEX held_keys_by_lease ON held_keys (lease);
CREATE INDEX held_keys_by_expiry ON held_keys (asset, expires_at, lease);

-- How many leases hold a key of an asset, so that a release need not count them one by one. A lease's
-- rows come in one statement and go in one, so each statement tells whole leases.
CREATE TABLE asset_leases (
    asset      text COLLATE "C" PRIMARY KEY,
    held       bigint NOT NULL
);

CREATE FUNCTION count_added_leases() RETURNS trigger LANGUAGE plpgsql AS '
BEGIN
    INSERT INTO asset_leases AS counted (asset, held) SELECT asset, count(DISTINCT lease) FROM added GROUP BY asset
        ON CONFLICT (asset) DO UPDATE SET held = counted.held + excluded.held;
    RETURN NULL;
END';
CREATE TRIGGER held_keys_added AFTER INSERT ON held_keys
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_added_leases();

CREATE FUNCTION count_removed_leases() RETURNS trigger LANGUAGE plpgsql AS '
BEGIN
    UPDATE asset_leases AS counted SET held = counted.held - gone.leases
        FROM (SELECT asset, count(DISTINCT lease) AS leases FROM removed GROUP BY asset) AS gone
        WHERE counted.asset = gone.asset;
    RETURN NULL;
END';
CREATE TRIGGER held_keys_removed AFTER DELETE ON held_keys
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_removed_leases();

CREATE TABLE burnt_nonces (
    nonce      bytea PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX burnt_nonces_by_expiry ON burnt_nonces (expires_at);

-- Evidence and claims, by content.
CREATE TABLE blobs (
    sha256     bytea PRIMARY KEY,
    bytes      bytea NOT NULL
);

-- The ledger. `entry` is SHA-256(salt || record); salt and record may be pruned, the entry stays.
CREATE TABLE entries (
    idx        bigint PRIMARY KEY,
    entry      bytea NOT NULL,
    id         text COLLATE "C" NOT NULL UNIQUE,
    time_ms    bigint NOT NULL,
    salt       bytea,
    record     bytea,
    CHECK ((salt IS NULL) = (record IS NULL))
);
CREATE INDEX entries_by_time ON entries (time_ms, idx);

-- The inverted index of records: one row for each thing that a query can ask of a record
-- (`action:release.decided`, `asset:minilm`, `reason:pcr_mismatch`), in the order of the log.
CREATE TABLE terms (
    term       text COLLATE "C" NOT NULL,
    idx        bigint NOT NULL,
    PRIMARY KEY (term, idx)
);

CREATE TABLE tiles (
    level      bigint NOT NULL,
    idx        bigint NOT NULL,
    data       bytea NOT NULL,
    PRIMARY KEY (level, idx)
);
-- Hashes do not compress.
ALTER TABLE tiles ALTER COLUMN data SET STORAGE EXTERNAL;

-- Who writes under a replica's name: the process that took it last.
CREATE TABLE replicas (
    name       text COLLATE "C" PRIMARY KEY,
    process    bytea NOT NULL,
    since      timestamptz NOT NULL DEFAULT now()
);

-- The one row that every writer locks. It is there before the first commit, empty.
CREATE TABLE head (
    only_row   smallint PRIMARY KEY CHECK (only_row = 1),
    frontier   bytea,
    time_ms    bigint,
    checkpoint text,
    CHECK ((frontier IS NULL) = (checkpoint IS NULL) AND (frontier IS NULL) = (time_ms IS NULL))
);
INSERT INTO head (only_row) VALUES (1);
