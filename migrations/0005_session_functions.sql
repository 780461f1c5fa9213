-- A session's begin and end, each one statement: one round trip, all or nothing.
--
-- Both lock a key pair's row before an agent's row, so that they never wait for each other in a circle.

-- Takes a place in the key's quota and slots on the agent, and inserts the session as PREPARING. Answers
--   ok          done
--   no-key      the key is unknown or inactive
--   exists      the key has a live session of that name
--   quota       the key has as many sessions as it may (concurrency_limit; null: any number)
--   agent-full  the agent is not ALIVE or has not enough slots left (MiB, cores, GPU devices)
-- and changes nothing unless `ok`.
CREATE FUNCTION backendai_session_reserve(
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
    WHERE id = p_agent AND status = 'ALIVE'
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

-- One number of a session's last statistics: a JSON number or a text that is one, whole, from 0 to the largest
-- bigint. Whatever else is there leaves `p_kept`: an odd statistic must not keep a session from ending.
CREATE FUNCTION backendai_stat(p_stats jsonb, p_name text, p_kept bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_stats ->> p_name ~ '^[0-9]{1,30}(\.[0-9]{1,30})?$'
        THEN least(round((p_stats ->> p_name)::numeric), 9223372036854775807)::bigint
        ELSE p_kept
    END
$$;

-- Ends a live session as `p_status` (TERMINATED or ERROR): gives back its slots and its place in the quota, and
-- keeps its last statistics (`p_stats`, named like the columns; what is missing stays). True: this call ended it.
-- False: it had ended before, or is unknown, and nothing changed.
CREATE FUNCTION backendai_session_finish(p_id uuid, p_status kernelstatus, p_info text, p_stats jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_ended kernels%ROWTYPE;
BEGIN
    IF p_status IS NULL OR p_status NOT IN ('TERMINATED', 'ERROR') THEN
        RAISE EXCEPTION 'a session ends as TERMINATED or ERROR, not as %', p_status USING ERRCODE = '22023';
    END IF;

    UPDATE kernels
    SET status = p_status,
        status_info = coalesce(p_info, status_info),
        terminated_at = now(),
        owner_node = NULL,
        cpu_used = backendai_stat(p_stats, 'cpu_used', cpu_used),
        mem_max_bytes = backendai_stat(p_stats, 'mem_max_bytes', mem_max_bytes),
        net_rx_bytes = backendai_stat(p_stats, 'net_rx_bytes', net_rx_bytes),
        net_tx_bytes = backendai_stat(p_stats, 'net_tx_bytes', net_tx_bytes),
        io_read_bytes = backendai_stat(p_stats, 'io_read_bytes', io_read_bytes),
        io_write_bytes = backendai_stat(p_stats, 'io_write_bytes', io_write_bytes),
        io_max_scratch_size = backendai_stat(p_stats, 'io_max_scratch_size', io_max_scratch_size)
    WHERE id = p_id AND (status IS NULL OR status NOT IN ('TERMINATED', 'ERROR'))
    RETURNING * INTO v_ended;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    IF v_ended.role = 'master' THEN
        UPDATE keypairs SET concurrency_used = greatest(0, coalesce(concurrency_used, 0) - 1)
        WHERE access_key = v_ended.access_key;
    END IF;
    UPDATE agents
    SET used_mem_slots = greatest(0, used_mem_slots - v_ended.mem_slot),
        used_cpu_slots = greatest(0, used_cpu_slots - v_ended.cpu_slot),
        used_gpu_slots = greatest(0, used_gpu_slots - v_ended.gpu_slot)
    WHERE id = v_ended.agent;
    RETURN true;
END
$$;
