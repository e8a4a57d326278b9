BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE alert_notices (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	rule VARCHAR(64) NOT NULL, 
	sink VARCHAR(32) NOT NULL, 
	message JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	attempts INTEGER NOT NULL, 
	not_before DATETIME NOT NULL, 
	sent_at DATETIME, 
	given_up_at DATETIME, 
	error TEXT
);
CREATE TABLE alerts (
	rule VARCHAR(64) NOT NULL, 
	is_firing BOOLEAN NOT NULL, 
	since DATETIME NOT NULL, 
	differs_since DATETIME, 
	value DOUBLE NOT NULL, 
	detail TEXT NOT NULL, 
	looked_at DATETIME NOT NULL, 
	PRIMARY KEY (rule)
);
CREATE TABLE api_keys (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	secret_hash VARCHAR(255) NOT NULL, 
	scopes JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	last_used_at DATETIME, 
	revoked_at DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "api_keys" VALUES('b0b0514245dfc0e2','reporting','13b405aff5bdde20d8a05c9f3bc4afc7094e1997aafed1dd7aff0390089b5827','["jobs:read"]','2026-11-29 22:50:28.676539',NULL,NULL,NULL);
CREATE TABLE audit (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DATETIME NOT NULL, 
	request_id VARCHAR(64), 
	caller VARCHAR(255), 
	action VARCHAR(255) NOT NULL, 
	target VARCHAR(255), 
	outcome VARCHAR(64) NOT NULL, 
	address VARCHAR(64)
);
CREATE TABLE idempotency (
	caller VARCHAR(255) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash VARCHAR(128) NOT NULL, 
	run_id VARCHAR(36) NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (caller, "key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "idempotency" VALUES('reporting','key','hash','01a22980-add3-74f6-9d38-65d9a734e243','2026-11-29 22:50:28.698807');
CREATE TABLE run_events (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_id VARCHAR(36) NOT NULL, 
	at DATETIME NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	cause TEXT, 
	data JSON, 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "run_events" VALUES(1,'01a22980-add3-74f6-9d38-65d9a734e243','2026-11-29 22:50:28.695782','state','queued','submitted by reporting (api)',NULL);
INSERT INTO "run_events" VALUES(2,'01a22980-add3-74f6-9d38-65d9a734e243','2026-11-29 22:50:28.710902','state','running','attempt 1 begins','{"attempt": 1, "worker": "w"}');
INSERT INTO "run_events" VALUES(3,'01a22980-add3-74f6-9d38-65d9a734e243','2026-11-29 22:50:28.718435','progress','running',NULL,'{"step": 1, "steps": 3, "doing": "Merging"}');
INSERT INTO "run_events" VALUES(4,'01a22980-add3-74f6-9d38-65d9a734e243','2026-11-29 22:50:28.722677','state','succeeded','done','{"rows_written": 3}');
INSERT INTO "run_events" VALUES(5,'01a22980-adf4-719e-a55b-c6d734e7dc05','2026-11-29 22:50:28.724751','state','queued','submitted by reporting (api)',NULL);
CREATE TABLE run_logs (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_id VARCHAR(36) NOT NULL, 
	at DATETIME NOT NULL, 
	level VARCHAR(16) NOT NULL, 
	message TEXT NOT NULL, 
	fields JSON, 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "run_logs" VALUES(1,'01a22980-add3-74f6-9d38-65d9a734e243','2026-11-29 22:50:28.716649','info','one','{"rows": 2}');
CREATE TABLE runs (
	id VARCHAR(36) NOT NULL, 
	job VARCHAR(64) NOT NULL, 
	parameters JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	"trigger" VARCHAR(16) NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	attempt INTEGER NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	not_before DATETIME, 
	worker VARCHAR(255), 
	session_id VARCHAR(36), 
	heartbeat_at DATETIME, 
	cancel_requested_at DATETIME, 
	timeout_seconds INTEGER NOT NULL, 
	result JSON, 
	error JSON, 
	progress JSON, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('01a22980-add3-74f6-9d38-65d9a734e243','maintenance','{"table": null}','succeeded','reporting','api','2026-11-29 22:50:28.691802','2026-11-29 22:50:28.706404','2026-11-29 22:50:28.721408',1,4,NULL,'w','s','2026-11-29 22:50:28.716654',NULL,3600,'{"rows_written": 3}',NULL,'{"step": 1, "steps": 3, "doing": "Merging"}',4);
INSERT INTO "runs" VALUES('01a22980-adf4-719e-a55b-c6d734e7dc05','maintenance','{"table": null}','queued','reporting','api','2026-11-29 22:50:28.724502',NULL,NULL,0,4,NULL,NULL,NULL,NULL,NULL,3600,NULL,NULL,NULL,1);
CREATE TABLE schedules (
	job VARCHAR(64) NOT NULL, 
	paused BOOLEAN NOT NULL, 
	last_due_at DATETIME, 
	PRIMARY KEY (job)
);
INSERT INTO "schedules" VALUES('maintenance',1,'2026-11-29 22:50:28.727557');
CREATE TABLE signing_keys (
	kid VARCHAR(64) NOT NULL, 
	secret BLOB NOT NULL, 
	created_at DATETIME NOT NULL, 
	retired_at DATETIME, 
	PRIMARY KEY (kid)
);
INSERT INTO "signing_keys" VALUES('03aa37ce54c722eb',X'1A70110E7C82F4914C9FCD9B497C7F4BD8D949527E6A79F6458019E397455E5A2EB2049681D255E870EF1369F56BFF26','2026-11-29 22:50:28.684901',NULL);
CREATE TABLE table_locks (
	table_name VARCHAR(255) NOT NULL, 
	run_id VARCHAR(36) NOT NULL, 
	PRIMARY KEY (table_name), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
CREATE INDEX ix_api_keys_name ON api_keys (name);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_runs_caller ON runs (caller);
CREATE INDEX runs_by_job ON runs (job, id);
CREATE INDEX runs_by_state ON runs (state, created_at);
CREATE INDEX ix_idempotency_created_at ON idempotency (created_at);
CREATE INDEX run_events_by_run ON run_events (run_id, seq);
CREATE INDEX run_logs_by_run ON run_logs (run_id, seq);
CREATE INDEX ix_table_locks_run_id ON table_locks (run_id);
CREATE INDEX alert_notices_by_sink ON alert_notices (sink, sent_at);
CREATE INDEX ix_alert_notices_created_at ON alert_notices (created_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('run_events',5);
INSERT INTO "sqlite_sequence" VALUES('run_logs',1);
COMMIT;
