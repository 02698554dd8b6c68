-- How many leases hold a key of an asset, so that a release need not count them one by one. A lease
-- that holds several versions counts once. Some of them may have run out and wait to be closed: those
-- are few, and are counted by their expiry.

CREATE TABLE asset_leases (
    asset      TEXT PRIMARY KEY,
    held       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO asset_leases (asset, held) SELECT asset, count(DISTINCT lease) FROM held_keys GROUP BY asset;
CREATE INDEX held_keys_by_expiry ON held_keys (asset, expires_at, lease);

CREATE TRIGGER held_keys_added AFTER INSERT ON held_keys
    WHEN (SELECT count(*) FROM held_keys WHERE asset = new.asset AND lease = new.lease) = 1
BEGIN
    INSERT INTO asset_leases (asset, held) VALUES (new.asset, 1) ON CONFLICT (asset) DO UPDATE SET held = held + 1;
END;

CREATE TRIGGER held_keys_removed AFTER DELETE ON held_keys
    WHEN NOT EXISTS (SELECT 1 FROM held_keys WHERE asset = old.asset AND lease = old.lease)
BEGIN
    UPDATE asset_leases SET held = held - 1 WHERE asset = old.asset;
END;
