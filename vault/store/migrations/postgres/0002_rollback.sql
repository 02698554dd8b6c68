-- Set by a replica that found that the ledger does not extend its checkpoint outside the database: who, and
-- what it found, as JSON. Every commit reads it with the head, and none is made while it is there.
ALTER TABLE head ADD COLUMN rollback text;
