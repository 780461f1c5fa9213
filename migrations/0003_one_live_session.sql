-- At most one live session for each access key and session name.
--
-- Rows that break this can exist, since the original never forbade it: the newest stays, older ones end as
-- errors, their slots go back to their agents, and their places in the quota to their key.
LOCK TABLE keypairs, agents, kernels IN SHARE ROW EXCLUSIVE MODE;

CREATE TEMPORARY TABLE backendai_duplicates ON COMMIT DROP AS
SELECT id, access_key, agent, mem_slot, cpu_slot, gpu_slot
FROM (
    SELECT *, row_number() OVER (PARTITION BY access_key, sess_id ORDER BY created_at DESC NULLS LAST, id) AS place
    FROM kernels
    WHERE role = 'master' AND status NOT IN ('TERMINATED', 'ERROR')
      AND access_key IS NOT NULL AND sess_id IS NOT NULL
) AS live
WHERE place > 1;

UPDATE kernels
SET status = 'ERROR', status_info = 'duplicate-session', terminated_at = coalesce(terminated_at, now())
WHERE id IN (SELECT id FROM backendai_duplicates);

UPDATE keypairs
SET concurrency_used = greatest(0, coalesce(concurrency_used, 0) - ended.sessions)
FROM (SELECT access_key, count(*)::int AS sessions FROM backendai_duplicates GROUP BY access_key) AS ended
WHERE keypairs.access_key = ended.access_key;

UPDATE agents
SET used_mem_slots = greatest(0, used_mem_slots - ended.mem),
    used_cpu_slots = greatest(0, used_cpu_slots - ended.cpu),
    used_gpu_slots = greatest(0, used_gpu_slots - ended.gpu)
FROM (
    SELECT agent, sum(mem_slot)::bigint AS mem, sum(cpu_slot) AS cpu, sum(gpu_slot) AS gpu
    FROM backendai_duplicates
    GROUP BY agent
) AS ended
WHERE agents.id = ended.agent;

CREATE UNIQUE INDEX uq_kernels_live_session ON kernels (access_key, sess_id)
    WHERE role = 'master' AND status NOT IN ('TERMINATED', 'ERROR');
