-- A version of a reference set is proposed by one person and put in force by another. What was recorded before
-- is in force, or was.
ALTER TABLE reference_sets ADD COLUMN state text NOT NULL DEFAULT 'superseded';
ALTER TABLE reference_sets ADD COLUMN approver text;
UPDATE reference_sets AS one SET state = 'in_force'
    WHERE set_version = (SELECT max(set_version) FROM reference_sets AS other WHERE other.name = one.name);
CREATE UNIQUE INDEX reference_sets_in_force ON reference_sets (name) WHERE state = 'in_force';
