-- Sums that must always hold, checked against the rows that they are of, and mended: an agent's used slots are those
-- of its live kernels, whatever their role, and a key's concurrency_used is the number of its live master sessions.

-- Which kernels count. A list of what is live, and not of what is not, so that the index on the status finds the few
-- live ones among all that ever ran; a status of null is live, as backendai_session_finish has it.
CREATE VIEW backendai_live_kernels AS
SELECT id, sess_id, role, agent, access_key, mem_slot, cpu_slot, gpu_slot, status, status_changed
FROM kernels
WHERE status IN ('PREPARING', 'BUILDING', 'RUNNING', 'RESTARTING', 'RESIZING', 'SUSPENDED', 'TERMINATING')
   OR status IS NULL;

-- Every sum that is wrong at this moment: of what (`agent` or `keypair`), its id, what the row says and what it should.
-- Sums of fractions of GPUs are off by about 1e-16 each; a millionth of a slot is nobody's.
CREATE VIEW backendai_wrong_sums AS
SELECT 'agent' AS kind, agents.id AS target,
    jsonb_build_object('mem', used_mem_slots, 'cpu', used_cpu_slots, 'gpu', used_gpu_slots) AS says,
    jsonb_build_object('mem', coalesce(mem, 0), 'cpu', coalesce(cpu, 0), 'gpu', coalesce(gpu, 0)) AS should
FROM agents LEFT JOIN (
    SELECT agent, sum(mem_slot)::bigint AS mem, sum(cpu_slot) AS cpu, sum(gpu_slot) AS gpu
    FROM backendai_live_kernels GROUP BY agent
) AS live ON live.agent = agents.id
WHERE used_mem_slots <> coalesce(mem, 0)
   OR abs(used_cpu_slots - coalesce(cpu, 0)) > 1e-6
   OR abs(used_gpu_slots - coalesce(gpu, 0)) > 1e-6
UNION ALL
SELECT 'keypair', keypairs.access_key,
    jsonb_build_object('sessions', concurrency_used), jsonb_build_object('sessions', coalesce(sessions, 0))
FROM keypairs LEFT JOIN (
    SELECT access_key, count(*) AS sessions FROM backendai_live_kernels WHERE role = 'master' GROUP BY access_key
) AS live ON live.access_key = keypairs.access_key
WHERE coalesce(concurrency_used, 0) <> coalesce(sessions, 0);

-- Mends one sum; a row of what it said and says now, or none if it was right, is unknown, or is somebody's just now
-- and `p_wait` is false.
--
-- Safe beside backendai_session_reserve, backendai_session_finish and an original manager: all of these change the sum
-- in the transaction that changes the kernel. The row is locked first. Whoever changed the sum and has not committed
-- is waited for; whoever has yet to change it waits for us, and adds to what we leave. So what the statements after the
-- lock see, each with a snapshot of its own (READ COMMITTED), is the kernels that the sum already has, and no other.
-- Only this one row is locked, so that no order of locks matters; its key is not, so that kernels may be inserted.
CREATE FUNCTION backendai_mend_sum(p_kind text, p_target text, p_wait boolean)
RETURNS TABLE (said jsonb, says jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_wrong backendai_wrong_sums%ROWTYPE;
BEGIN
    IF p_kind = 'agent' AND p_wait THEN
        PERFORM FROM agents WHERE agents.id = p_target FOR NO KEY UPDATE;
    ELSIF p_kind = 'agent' THEN
        PERFORM FROM agents WHERE agents.id = p_target FOR NO KEY UPDATE SKIP LOCKED;
    ELSIF p_kind = 'keypair' AND p_wait THEN
        PERFORM FROM keypairs WHERE access_key = p_target FOR NO KEY UPDATE;
    ELSIF p_kind = 'keypair' THEN
        PERFORM FROM keypairs WHERE access_key = p_target FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        RAISE EXCEPTION 'there are sums of agent and keypair, not of %', p_kind USING ERRCODE = '22023';
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT * INTO v_wrong FROM backendai_wrong_sums AS wrong WHERE wrong.kind = p_kind AND wrong.target = p_target;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF p_kind = 'agent' THEN
        UPDATE agents
        SET used_mem_slots = (v_wrong.should ->> 'mem')::bigint,
            used_cpu_slots = (v_wrong.should ->> 'cpu')::double precision,
            used_gpu_slots = (v_wrong.should ->> 'gpu')::double precision
        WHERE agents.id = p_target;
    ELSE
        UPDATE keypairs SET concurrency_used = (v_wrong.should ->> 'sessions')::integer WHERE access_key = p_target;
    END IF;
    RETURN QUERY SELECT v_wrong.says, v_wrong.should;
END
$$;
