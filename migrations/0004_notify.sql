-- Gateways keep key pairs and agents in memory; these tell them what to read anew, whoever changed it.
--
-- Only changes that they act on are told: counters (concurrency_used, num_queries, used slots) change with every
-- session, and a notification makes commits wait for each other.
CREATE FUNCTION backendai_tell_keypair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('backendai_keypairs', OLD.access_key);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('backendai_keypairs', NEW.access_key);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER backendai_keypairs_made_or_gone AFTER INSERT OR DELETE ON keypairs
    FOR EACH ROW EXECUTE FUNCTION backendai_tell_keypair();
CREATE TRIGGER backendai_keypairs_changed AFTER UPDATE ON keypairs
    FOR EACH ROW
    WHEN ((OLD.access_key, OLD.secret_key, OLD.is_active, OLD.is_admin, OLD.rate_limit, OLD.concurrency_limit)
          IS DISTINCT FROM
          (NEW.access_key, NEW.secret_key, NEW.is_active, NEW.is_admin, NEW.rate_limit, NEW.concurrency_limit))
    EXECUTE FUNCTION backendai_tell_keypair();

CREATE FUNCTION backendai_tell_agent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('backendai_agents', OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('backendai_agents', NEW.id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER backendai_agents_made_or_gone AFTER INSERT OR DELETE ON agents
    FOR EACH ROW EXECUTE FUNCTION backendai_tell_agent();
CREATE TRIGGER backendai_agents_changed AFTER UPDATE ON agents
    FOR EACH ROW
    WHEN ((OLD.id, OLD.status, OLD.mem_slots, OLD.cpu_slots, OLD.gpu_slots, OLD.addr)
          IS DISTINCT FROM
          (NEW.id, NEW.status, NEW.mem_slots, NEW.cpu_slots, NEW.gpu_slots, NEW.addr))
    EXECUTE FUNCTION backendai_tell_agent();
