-- What vendors publish about their hardware, read offline. `content` tells of the bytes, so that a list costs no bytes.
CREATE TABLE endorsements (
    name                text COLLATE "C" PRIMARY KEY,
    sha256              bytea NOT NULL,
    removal_proposed_by text,
    content             text NOT NULL,
    bytes               bytea NOT NULL
);

-- Roots that two persons pinned, beside those that come with the program.
CREATE TABLE pins (
    kind       text COLLATE "C" NOT NULL,
    sha256     bytea NOT NULL,
    state      text NOT NULL,
    approver   text,
    content    text NOT NULL,
    PRIMARY KEY (kind, sha256)
);

INSERT INTO generations (name, value) VALUES ('endorsements', 0);
