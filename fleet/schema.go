package fleet

// migrations bring the database from one version to the next, in this order.
// One that was released is never changed. Times are Unix milliseconds, zero
// means never; texts are never null.
var migrations = [...]string{`
CREATE TABLE machines (
	id          TEXT    PRIMARY KEY,
	name        TEXT    NOT NULL UNIQUE COLLATE NOCASE,
	uuid        TEXT    NOT NULL,
	serial      TEXT    NOT NULL,
	vendor      TEXT    NOT NULL,
	product     TEXT    NOT NULL,
	mac         TEXT    NOT NULL, -- that it was booted from last
	inventory   TEXT    NOT NULL, -- JSON
	settings    TEXT    NOT NULL, -- JSON
	ambiguous   TEXT    NOT NULL, -- why it gets no job
	first_seen  INTEGER NOT NULL,
	last_seen   INTEGER NOT NULL
) STRICT;
CREATE INDEX machines_uuid ON machines(uuid);
CREATE INDEX machines_serial ON machines(serial);

CREATE TABLE macs ( -- that tell a machine; those of USB adapters do not
	mac         TEXT    NOT NULL,
	machine     TEXT    NOT NULL REFERENCES machines ON DELETE CASCADE,
	PRIMARY KEY (mac, machine)
) STRICT, WITHOUT ROWID;
CREATE INDEX macs_machine ON macs(machine);

CREATE TABLE jobs (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	rev         INTEGER NOT NULL DEFAULT 0, -- of the columns from state to error
	batch       TEXT    NOT NULL,
	machine     TEXT    NOT NULL REFERENCES machines ON DELETE CASCADE,
	kind        TEXT    NOT NULL,
	image       TEXT    NOT NULL,
	digest      TEXT    NOT NULL,
	need        INTEGER NOT NULL,
	options     TEXT    NOT NULL, -- JSON
	answer      TEXT    NOT NULL,
	created     INTEGER NOT NULL,
	created_by  TEXT    NOT NULL,
	woken       INTEGER NOT NULL DEFAULT 0, -- when, of a job that wakes its machine

	state       TEXT    NOT NULL CHECK (state IN ('pending', 'offered', 'working', 'done', 'failed', 'cancelled')),
	offers      INTEGER NOT NULL DEFAULT 0 CHECK (offers BETWEEN 0 AND 3),
	attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 3),
	not_before  INTEGER NOT NULL,
	not_after   INTEGER NOT NULL,
	offered     INTEGER NOT NULL DEFAULT 0,
	ended       INTEGER NOT NULL DEFAULT 0,
	error       TEXT    NOT NULL DEFAULT '',

	seq         INTEGER NOT NULL DEFAULT 0, -- of the last report
	status      TEXT    NOT NULL DEFAULT '{}', -- JSON, what it said
	choice      TEXT    NOT NULL DEFAULT '', -- of a disk, by somebody
	started     INTEGER NOT NULL DEFAULT 0,
	reported    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX jobs_open ON jobs(machine) WHERE state IN ('pending', 'offered', 'working');
CREATE INDEX jobs_machine ON jobs(machine, id);
CREATE INDEX jobs_batch ON jobs(batch);

CREATE TABLE lines ( -- of the agent's log
	id          INTEGER PRIMARY KEY,
	job         INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
	time        INTEGER NOT NULL,
	text        TEXT    NOT NULL
) STRICT;
CREATE INDEX lines_job ON lines(job, id);

CREATE TABLE events (
	id          INTEGER PRIMARY KEY,
	time        INTEGER NOT NULL,
	machine     TEXT    NOT NULL REFERENCES machines ON DELETE CASCADE,
	job         INTEGER NOT NULL, -- zero if it is about none
	actor       TEXT    NOT NULL,
	text        TEXT    NOT NULL
) STRICT;
CREATE INDEX events_machine ON events(machine, id);

CREATE TABLE tickets (
	hash        BLOB    PRIMARY KEY, -- SHA-256 of the token
	mac         TEXT    NOT NULL,
	machine     TEXT    NOT NULL, -- empty: of a stranger
	used        INTEGER NOT NULL DEFAULT 0,
	expires     INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
	hash        BLOB    PRIMARY KEY, -- SHA-256 of the token
	machine     TEXT    NOT NULL REFERENCES machines ON DELETE CASCADE,
	job         INTEGER NOT NULL, -- zero: none
	ticket      BLOB    NOT NULL, -- that it came of; empty: none
	trusted     INTEGER NOT NULL, -- may be given further jobs
	used        INTEGER NOT NULL DEFAULT 0,
	expires     INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_machine ON sessions(machine);

CREATE TABLE strangers ( -- that booted the agent and have not said hello
	mac         TEXT    PRIMARY KEY,
	offers      INTEGER NOT NULL,
	last_seen   INTEGER NOT NULL
) STRICT;
`, `
CREATE TABLE cells ( -- how products stand to what was restored to a machine last
	machine     TEXT    NOT NULL REFERENCES machines ON DELETE CASCADE,
	product     TEXT    NOT NULL,
	version     TEXT    NOT NULL,
	state       TEXT    NOT NULL,
	severity    TEXT    NOT NULL,
	reason      TEXT    NOT NULL,
	good        INTEGER NOT NULL,
	since       INTEGER NOT NULL, -- in this state
	PRIMARY KEY (machine, product)
) STRICT, WITHOUT ROWID;

ALTER TABLE machines ADD COLUMN cells  INTEGER NOT NULL DEFAULT 0; -- how many there are
ALTER TABLE machines ADD COLUMN good   INTEGER NOT NULL DEFAULT 0; -- how many of them are good
ALTER TABLE machines ADD COLUMN looked INTEGER NOT NULL DEFAULT 0; -- when they were found
`}
