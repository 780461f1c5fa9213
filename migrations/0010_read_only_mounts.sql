-- Agents of this project tell in their heartbeats whether they can mount a folder read-only. Others cannot, and a
-- manager of release 1.0 that enters an agent says nothing of it.
ALTER TABLE agents ADD COLUMN read_only_mounts boolean NOT NULL DEFAULT false;
