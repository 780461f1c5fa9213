-- The admin API lists the sessions of a key pair and what ran on an agent: rows of ended sessions stay for ever, so
-- that each of these lists needs its index, in its order.
CREATE INDEX ix_kernels_access_key_created_at ON kernels (access_key, created_at DESC NULLS LAST);
CREATE INDEX ix_kernels_agent_created_at ON kernels (agent, created_at DESC NULLS LAST);
