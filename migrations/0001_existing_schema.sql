-- The schema of installations made for release 1.0.4 of the original manager (Alembic revision c3e74dcf1808),
-- with its names of types, indexes and constraints, so that either program can serve the same database.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

CREATE TYPE agentstatus AS ENUM ('ALIVE', 'LOST', 'RESTARTING', 'TERMINATED');

CREATE TYPE kernelstatus AS ENUM (
    'PREPARING', 'BUILDING', 'RUNNING', 'RESTARTING', 'RESIZING', 'SUSPENDED', 'TERMINATING', 'TERMINATED', 'ERROR'
);

CREATE TABLE agents (
    id              varchar(64) NOT NULL,
    status          agentstatus NOT NULL,
    region          varchar(64) NOT NULL,
    mem_slots       bigint NOT NULL,            -- MiB
    cpu_slots       double precision NOT NULL,  -- cores
    gpu_slots       double precision NOT NULL,  -- devices
    used_mem_slots  bigint NOT NULL,
    used_cpu_slots  double precision NOT NULL,
    used_gpu_slots  double precision NOT NULL,
    addr            varchar(128) NOT NULL,
    first_contact   timestamptz DEFAULT now(),
    lost_at         timestamptz,
    CONSTRAINT pk_agents PRIMARY KEY (id)
);
CREATE INDEX ix_agents_status ON agents (status);
CREATE INDEX ix_agents_region ON agents (region);

CREATE TABLE keypairs (
    user_id            integer,
    access_key         varchar(20) NOT NULL,
    secret_key         varchar(40),
    is_active          boolean,
    is_admin           boolean DEFAULT false,
    resource_policy    varchar,
    created_at         timestamptz DEFAULT now(),
    last_used          timestamptz,
    concurrency_limit  integer,
    concurrency_used   integer,
    rate_limit         integer,
    num_queries        integer DEFAULT 0,
    CONSTRAINT pk_keypairs PRIMARY KEY (access_key)
);
CREATE INDEX ix_keypairs_user_id ON keypairs (user_id);
CREATE INDEX ix_keypairs_is_active ON keypairs (is_active);
CREATE INDEX ix_keypairs_is_admin ON keypairs (is_admin);

CREATE TABLE kernels (
    id                   uuid NOT NULL DEFAULT uuid_generate_v4(),
    sess_id              varchar(64),
    role                 varchar(16) NOT NULL DEFAULT 'master',
    agent                varchar(64),
    agent_addr           varchar(128) NOT NULL,
    access_key           varchar(20),
    lang                 varchar(64),
    container_id         varchar(64),
    cpu_set              integer[],
    gpu_set              integer[],
    mem_slot             bigint NOT NULL,
    cpu_slot             double precision NOT NULL,
    gpu_slot             double precision NOT NULL,
    environ              varchar[],
    repl_in_port         integer NOT NULL,
    repl_out_port        integer NOT NULL,
    stdin_port           integer NOT NULL,
    stdout_port          integer NOT NULL,
    created_at           timestamptz DEFAULT now(),
    terminated_at        timestamptz,
    status               kernelstatus DEFAULT 'PREPARING',
    status_info          text,
    num_queries          bigint DEFAULT 0,
    cpu_used             bigint DEFAULT 0,  -- ms
    mem_max_bytes        bigint DEFAULT 0,
    net_rx_bytes         bigint DEFAULT 0,
    net_tx_bytes         bigint DEFAULT 0,
    io_read_bytes        bigint DEFAULT 0,
    io_write_bytes       bigint DEFAULT 0,
    io_max_scratch_size  bigint DEFAULT 0,
    CONSTRAINT pk_kernels PRIMARY KEY (id),
    CONSTRAINT fk_kernels_agent_agents FOREIGN KEY (agent) REFERENCES agents (id),
    CONSTRAINT fk_kernels_access_key_keypairs FOREIGN KEY (access_key) REFERENCES keypairs (access_key)
);
CREATE INDEX ix_kernels_sess_id ON kernels (sess_id);
CREATE INDEX ix_kernels_sess_id_role ON kernels (sess_id, role);
CREATE INDEX ix_kernels_created_at ON kernels (created_at);
CREATE INDEX ix_kernels_terminated_at ON kernels (terminated_at);
CREATE INDEX ix_kernels_status ON kernels (status);

CREATE TABLE vfolders (
    id          uuid NOT NULL DEFAULT uuid_generate_v4(),
    host        varchar(128) NOT NULL,
    name        varchar(64) NOT NULL,
    max_files   integer DEFAULT 1000,
    max_size    integer DEFAULT 1048576,  -- KiB
    num_files   integer DEFAULT 0,
    cur_size    integer DEFAULT 0,        -- KiB
    created_at  timestamptz DEFAULT now(),
    last_used   timestamptz,
    belongs_to  varchar(20) NOT NULL,
    CONSTRAINT pk_vfolders PRIMARY KEY (id),
    CONSTRAINT fk_vfolders_belongs_to_keypairs FOREIGN KEY (belongs_to) REFERENCES keypairs (access_key)
);

CREATE TABLE vfolder_attachment (
    vfolder  uuid NOT NULL,
    kernel   uuid NOT NULL,
    CONSTRAINT pk_vfolder_attachment PRIMARY KEY (vfolder, kernel),
    CONSTRAINT fk_vfolder_attachment_vfolder_vfolders FOREIGN KEY (vfolder) REFERENCES vfolders (id)
        ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT fk_vfolder_attachment_kernel_kernels FOREIGN KEY (kernel) REFERENCES kernels (id)
        ON UPDATE CASCADE ON DELETE CASCADE
);

-- The original manager looks here for where the schema stands.
CREATE TABLE IF NOT EXISTS alembic_version (
    version_num  varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version (version_num) VALUES ('c3e74dcf1808');
