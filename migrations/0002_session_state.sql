-- What this gateway notes about a session beyond what the original does. The original names every column it
-- writes, so that added columns need to be null or have a default.
ALTER TABLE kernels
    ADD COLUMN tag             varchar(64),   -- the client's own mark
    ADD COLUMN kernel_host     varchar(128),  -- where the kernel's ports are, if not where its agent is
    ADD COLUMN owner_node      varchar(64),   -- the gateway that is creating or terminating it
    ADD COLUMN status_changed  timestamptz DEFAULT now();

-- The original's defaults are in its program, not in its tables: rows that SQL makes need them here.
ALTER TABLE kernels
    ALTER COLUMN role SET DEFAULT 'master',
    ALTER COLUMN status SET DEFAULT 'PREPARING',
    ALTER COLUMN num_queries SET DEFAULT 0,
    ALTER COLUMN cpu_used SET DEFAULT 0,
    ALTER COLUMN mem_max_bytes SET DEFAULT 0,
    ALTER COLUMN net_rx_bytes SET DEFAULT 0,
    ALTER COLUMN net_tx_bytes SET DEFAULT 0,
    ALTER COLUMN io_read_bytes SET DEFAULT 0,
    ALTER COLUMN io_write_bytes SET DEFAULT 0,
    ALTER COLUMN io_max_scratch_size SET DEFAULT 0;
ALTER TABLE vfolders
    ALTER COLUMN max_files SET DEFAULT 1000,
    ALTER COLUMN max_size SET DEFAULT 1048576,
    ALTER COLUMN num_files SET DEFAULT 0,
    ALTER COLUMN cur_size SET DEFAULT 0;

-- A trigger, so that the time is right whoever changes the status, the original manager included.
CREATE FUNCTION backendai_note_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.status_changed := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER backendai_kernels_status BEFORE UPDATE OF status ON kernels
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION backendai_note_status_change();

-- One row for each batch of counters that was added up here, so that a batch sent twice counts once.
CREATE TABLE ledger_flushes (
    id          uuid NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_ledger_flushes PRIMARY KEY (id)
);
CREATE INDEX ix_ledger_flushes_applied_at ON ledger_flushes (applied_at);
