-- What administrators do: agents that get no new sessions, and who did what.

-- A cordoned agent keeps its sessions and gets no new ones; one that is drained loses the others too, once drain_at
-- has come. Both outlive the agent's restarts. The original knows neither and goes on placing sessions there.
ALTER TABLE agents
    ADD COLUMN schedulable  boolean NOT NULL DEFAULT true,
    ADD COLUMN drain_at     timestamptz;

-- Rows of ended sessions stay for ever: what looks at an agent's live ones each second must not meet those.
CREATE INDEX ix_kernels_live_agent ON kernels (agent) WHERE status NOT IN ('TERMINATED', 'ERROR');

-- As in migration 5, but for agents that are cordoned: these count as full.
CREATE OR REPLACE FUNCTION backendai_session_reserve(
    p_id uuid, p_sess_id varchar, p_access_key varchar, p_lang varchar, p_agent varchar,
    p_mem bigint, p_cpu double precision, p_gpu double precision,
    p_environ varchar[], p_tag varchar, p_node varchar
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_used   integer;
    v_limit  integer;
    v_addr   varchar;
    -- Sums of fractions of GPUs are off by about 1e-16 each; a millionth of a slot is nobody's.
    c_slack  CONSTANT double precision := 1e-6;
BEGIN
    SELECT coalesce(concurrency_used, 0), concurrency_limit INTO v_used, v_limit
    FROM keypairs WHERE access_key = p_access_key AND is_active
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'no-key';
    END IF;

    PERFORM FROM kernels
    WHERE access_key = p_access_key AND sess_id = p_sess_id
      AND role = 'master' AND status NOT IN ('TERMINATED', 'ERROR');
    IF FOUND THEN
        RETURN 'exists';
    END IF;
    IF v_used >= v_limit THEN
        RETURN 'quota';
    END IF;

    UPDATE agents
    SET used_mem_slots = used_mem_slots + p_mem,
        used_cpu_slots = used_cpu_slots + p_cpu,
        used_gpu_slots = used_gpu_slots + p_gpu
    WHERE id = p_agent AND status = 'ALIVE' AND schedulable
      AND used_mem_slots + p_mem <= mem_slots
      AND used_cpu_slots + p_cpu <= cpu_slots + c_slack
      AND used_gpu_slots + p_gpu <= gpu_slots + c_slack
    RETURNING addr INTO v_addr;
    IF NOT FOUND THEN
        RETURN 'agent-full';
    END IF;

    INSERT INTO kernels (
        id, sess_id, role, agent, agent_addr, access_key, lang, mem_slot, cpu_slot, gpu_slot, environ,
        repl_in_port, repl_out_port, stdin_port, stdout_port, status, tag, owner_node
    ) VALUES (
        p_id, p_sess_id, 'master', p_agent, v_addr, p_access_key, p_lang, p_mem, p_cpu, p_gpu, p_environ,
        0, 0, 0, 0, 'PREPARING', p_tag, p_node
    )
    ON CONFLICT (access_key, sess_id) WHERE role = 'master' AND status NOT IN ('TERMINATED', 'ERROR') DO NOTHING;
    IF NOT FOUND THEN
        -- Somebody who does not lock the key first, an original manager, was quicker by a moment.
        UPDATE agents
        SET used_mem_slots = used_mem_slots - p_mem,
            used_cpu_slots = used_cpu_slots - p_cpu,
            used_gpu_slots = used_gpu_slots - p_gpu
        WHERE id = p_agent;
        RETURN 'exists';
    END IF;

    UPDATE keypairs SET concurrency_used = v_used + 1 WHERE access_key = p_access_key;
    RETURN 'ok';
END
$$;

-- Marks sessions as to be ended and gives the ids of those that were: the leader ends what is TERMINATING and has an
-- empty owner_node (the original leaves it null).
CREATE FUNCTION backendai_sessions_to_end(p_ids uuid[], p_reason text) RETURNS SETOF uuid LANGUAGE sql AS $$
    UPDATE kernels SET status = 'TERMINATING', owner_node = '', status_info = p_reason
    WHERE id = ANY(p_ids) AND role = 'master' AND status IN ('BUILDING', 'RUNNING', 'RESIZING', 'SUSPENDED')
    RETURNING id
$$;

-- The audit log. A row is there before what it tells of is done, and gets its outcome before that is answered: what
-- has none was broken off, and may or may not have been done.
CREATE TABLE audit_log (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor        varchar(64) NOT NULL,   -- an access key; for backendai-manager, who ran it: user@host
    via          varchar(16) NOT NULL,   -- graphql, rest or manager
    source       varchar(64),            -- the client's address, if it came over a network
    request_id   varchar(128),           -- as in the log
    action       varchar(64) NOT NULL,   -- the mutation, the route, or the command
    target_type  varchar(32) NOT NULL,   -- keypair, agent, session, image, alias, ...
    target       varchar(256) NOT NULL,  -- its name
    detail       jsonb,                  -- what was asked for, without secrets
    outcome      varchar(16),            -- done, refused or failed
    message      text,                   -- why it was refused or failed
    ended_at     timestamptz,
    CONSTRAINT pk_audit_log PRIMARY KEY (id),
    CONSTRAINT ck_audit_log_outcome CHECK (outcome IN ('done', 'refused', 'failed'))
);
CREATE INDEX ix_audit_log_at ON audit_log (at);
CREATE INDEX ix_audit_log_actor ON audit_log (actor, id);
CREATE INDEX ix_audit_log_target ON audit_log (target, id);
