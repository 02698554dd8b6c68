-- A node may have no TPM, and so no AK.
CREATE TABLE nodes_new (
    id          BLOB PRIMARY KEY,
    version     INTEGER NOT NULL,
    ak_sha256   BLOB UNIQUE,
    site        TEXT REFERENCES sites (name),
    enrolled_at INTEGER NOT NULL,
    row         TEXT NOT NULL
) STRICT;
-- Every node until now has a TPM, which named it, and activated its enrolment before it was written. One whose
-- row has gone wrong keeps it, and is told of where it is read.
INSERT INTO nodes_new (id, version, ak_sha256, site, enrolled_at, row)
    SELECT id, version, ak_sha256, site, enrolled_at,
        CASE WHEN json_valid(row) THEN json_set(row,
            '$.identities', json_array(json_object('kind', 'tpm-ek', 'value', lower(hex(id)))),
            '$.activated_at', enrolled_at) ELSE row END
        FROM nodes;
DROP TABLE nodes;
ALTER TABLE nodes_new RENAME TO nodes;
CREATE INDEX nodes_by_time ON nodes (enrolled_at, id);

-- What each node is known by: the index of what stands in the nodes' rows, so that none belongs to two nodes.
CREATE TABLE node_identities (
    kind       TEXT NOT NULL,
    identity   TEXT NOT NULL,
    node       BLOB NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (kind, identity)
) STRICT, WITHOUT ROWID;
CREATE INDEX node_identities_by_node ON node_identities (node);
INSERT INTO node_identities (kind, identity, node) SELECT 'tpm-ek', lower(hex(id)), id FROM nodes;
