-- A version of a reference set is proposed by one person and put in force by another. What was recorded before
-- is in force, or was.
ALTER TABLE reference_sets ADD COLUMN state TEXT NOT NULL DEFAULT 'superseded';
ALTER TABLE reference_sets ADD COLUMN approver TEXT;
UPDATE reference_sets SET state = 'in_force'
    WHERE set_version = (SELECT max(set_version) FROM reference_sets AS other WHERE other.name = reference_sets.name);
CREATE UNIQUE INDEX reference_sets_in_force ON reference_sets (name) WHERE state = 'in_force';
