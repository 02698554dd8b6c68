-- Secrets of leases that are over: nothing can be proved with them any more.
UPDATE leases SET row = json_set(row, '$.wrapped_secret', '') WHERE state <> 'live';
-- A list goes on behind the lease that it ended with.
DROP INDEX leases_by_time;
CREATE INDEX leases_by_time ON leases (granted_at, id);

-- When a token was last used: told once a minute at the most, and no part of what guards compare.
ALTER TABLE tokens ADD COLUMN last_used_at INTEGER;
-- Who may hold which roles is judged over all tokens of a person.
INSERT INTO generations (name, value) VALUES ('tokens', 0);

-- For whom, and from where, an enrolment waits: whoever begins many takes the place of its own.
ALTER TABLE enrolments ADD COLUMN ek BLOB NOT NULL DEFAULT x'';
ALTER TABLE enrolments ADD COLUMN source TEXT NOT NULL DEFAULT '';
CREATE INDEX enrolments_of_source ON enrolments (source, expires_at) WHERE node IS NULL;
