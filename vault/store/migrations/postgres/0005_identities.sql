-- A node may have no TPM, and so no AK.
ALTER TABLE nodes ALTER COLUMN ak_sha256 DROP NOT NULL;
-- Every node until now has a TPM, which named it, and activated its enrolment before it was written. A row is
-- text that ends with its brace; as jsonb, which knows no zero characters, some could not be read.
UPDATE nodes SET content = left(content, -1) || ',"identities":[{"kind":"tpm-ek","value":"' || encode(id, 'hex')
    || '"}],"activated_at":' || enrolled_at || '}';

-- What each node is known by: the index of what stands in the nodes' rows, so that none belongs to two nodes.
CREATE TABLE node_identities (
    kind       text COLLATE "C" NOT NULL,
    identity   text COLLATE "C" NOT NULL,
    node       bytea NOT NULL REFERENCES nodes (id),
    PRIMARY KEY (kind, identity)
);
CREATE INDEX node_identities_by_node ON node_identities (node);
INSERT INTO node_identities (kind, identity, node) SELECT 'tpm-ek', encode(id, 'hex'), id FROM nodes;
