-- Folders that are shared: who was invited to which, and who was let in.
--
-- Names of columns and values are those of the original manager's later releases. Users are held as text, so that
-- it does not matter whether keypairs.user_id is a number or an e-mail address.
CREATE TYPE vfolderpermission AS ENUM ('ro', 'rw', 'wd');

CREATE TABLE vfolder_invitations (
    id          uuid NOT NULL DEFAULT uuid_generate_v4(),
    permission  vfolderpermission NOT NULL DEFAULT 'rw',
    inviter     varchar(256),            -- the owner's user id
    invitee     varchar(256) NOT NULL,   -- a user id
    state       varchar(10) NOT NULL DEFAULT 'pending',
    created_at  timestamptz NOT NULL DEFAULT now(),
    vfolder     uuid NOT NULL,
    CONSTRAINT pk_vfolder_invitations PRIMARY KEY (id),
    CONSTRAINT ck_vfolder_invitations_state CHECK (state IN ('pending', 'accepted', 'rejected')),
    CONSTRAINT fk_vfolder_invitations_vfolder_vfolders FOREIGN KEY (vfolder) REFERENCES vfolders (id)
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX uq_vfolder_invitations_pending ON vfolder_invitations (vfolder, invitee) WHERE state = 'pending';
CREATE INDEX ix_vfolder_invitations_invitee ON vfolder_invitations (invitee);

CREATE TABLE vfolder_permissions (
    permission  vfolderpermission NOT NULL DEFAULT 'rw',
    vfolder     uuid NOT NULL,
    access_key  varchar(20) NOT NULL,
    CONSTRAINT pk_vfolder_permissions PRIMARY KEY (vfolder, access_key),
    CONSTRAINT fk_vfolder_permissions_vfolder_vfolders FOREIGN KEY (vfolder) REFERENCES vfolders (id)
        ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT fk_vfolder_permissions_access_key_keypairs FOREIGN KEY (access_key) REFERENCES keypairs (access_key)
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX ix_vfolder_permissions_access_key ON vfolder_permissions (access_key);
CREATE INDEX ix_vfolders_belongs_to ON vfolders (belongs_to);
CREATE INDEX ix_vfolder_attachment_kernel ON vfolder_attachment (kernel);

-- Every folder that a key may use: its own, and those that it was let into.
CREATE VIEW backendai_accessible_vfolders AS
SELECT belongs_to AS access_key, true AS is_owner, 'wd'::vfolderpermission AS permission, id, name, host, created_at
FROM vfolders
UNION ALL
SELECT shared.access_key, false, shared.permission, id, name, host, created_at
FROM vfolder_permissions AS shared JOIN vfolders ON vfolders.id = shared.vfolder
WHERE shared.access_key <> vfolders.belongs_to;

-- Makes a folder: `ok`, `exists` (the key has or was let into one of that name), `no-key`. The key's row is locked,
-- so that of two at once one sees the other's.
CREATE FUNCTION backendai_vfolder_create(p_id uuid, p_host varchar, p_name varchar, p_access_key varchar)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM keypairs WHERE access_key = p_access_key AND is_active FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'no-key';
    END IF;
    PERFORM FROM backendai_accessible_vfolders WHERE access_key = p_access_key AND name = p_name;
    IF FOUND THEN
        RETURN 'exists';
    END IF;
    INSERT INTO vfolders (id, host, name, belongs_to, max_files, max_size, num_files, cur_size, created_at)
    VALUES (p_id, p_host, p_name, p_access_key, DEFAULT, DEFAULT, DEFAULT, DEFAULT, now());
    RETURN 'ok';
END
$$;

-- Removes a folder: `ok`, `not-found` (the key does not own it), `in-use` (a live session has it, and not forced).
-- The row lock keeps sessions from attaching meanwhile: the attachment's foreign key waits for it.
CREATE FUNCTION backendai_vfolder_delete(p_id uuid, p_access_key varchar, p_force boolean)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM vfolders WHERE id = p_id AND belongs_to = p_access_key FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    PERFORM FROM vfolder_attachment JOIN kernels ON kernels.id = vfolder_attachment.kernel
    WHERE vfolder = p_id AND (status IS NULL OR status NOT IN ('TERMINATED', 'ERROR'));
    IF FOUND AND NOT p_force THEN
        RETURN 'in-use';
    END IF;
    DELETE FROM vfolders WHERE id = p_id;
    RETURN 'ok';
END
$$;

-- Lets `p_access_key` into a folder by an invitation of the user of `p_caller`: `ok`; `not-found` (no pending
-- invitation of that user); `not-yours` (the key is inactive or another user's); `exists` (it has a folder of that
-- name). Locks as backendai_vfolder_create does, for the same reason.
CREATE FUNCTION backendai_vfolder_accept(p_invitation uuid, p_caller varchar, p_access_key varchar)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_user     text;
    v_invited  vfolder_invitations%ROWTYPE;
BEGIN
    SELECT user_id::text INTO v_user FROM keypairs WHERE access_key = p_caller;
    PERFORM FROM keypairs WHERE access_key = p_access_key AND is_active AND user_id::text = v_user
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-yours';
    END IF;
    SELECT * INTO v_invited FROM vfolder_invitations
    WHERE id = p_invitation AND invitee = v_user AND state = 'pending'
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    PERFORM FROM backendai_accessible_vfolders AS had JOIN vfolders AS new ON new.id = v_invited.vfolder
    WHERE had.access_key = p_access_key AND had.name = new.name;
    IF FOUND THEN
        RETURN 'exists';
    END IF;
    INSERT INTO vfolder_permissions (permission, vfolder, access_key)
    VALUES (v_invited.permission, v_invited.vfolder, p_access_key);
    UPDATE vfolder_invitations SET state = 'accepted' WHERE id = p_invitation;
    RETURN 'ok';
END
$$;

-- A folder's files change between two statements: what is added is counted first, what is removed last. Whoever
-- counts a folder anew sees by these whether somebody changed it meanwhile. The original names every column that it
-- writes, so that they need defaults.
ALTER TABLE vfolders
    ADD COLUMN writers        integer NOT NULL DEFAULT 0,  -- between their two statements now
    ADD COLUMN writers_since  timestamptz,                 -- when the last of them began
    ADD COLUMN writes         bigint NOT NULL DEFAULT 0;   -- that ever began

-- Adds to what a folder holds (files, KiB), but nothing that would lead over a limit; a null limit is none. What
-- becomes less is never refused. `p_writers` is 1 when a change begins, 0 in its middle, and -1 when it ends: what it
-- says then has happened, and is counted in any case. Answers `ok`, `not-found`, `files` or `size` (the limit that was
-- hit), and changes nothing unless `ok`.
CREATE FUNCTION backendai_vfolder_count(p_id uuid, p_files bigint, p_kib bigint, p_writers integer)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c_most     CONSTANT bigint := 2147483647;  -- of the columns, which the original made integers
    v_folder   vfolders%ROWTYPE;
    v_files    bigint;
    v_kib      bigint;
BEGIN
    SELECT * INTO v_folder FROM vfolders WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'not-found';
    END IF;
    v_files := greatest(0, coalesce(v_folder.num_files, 0) + p_files);
    v_kib := greatest(0, coalesce(v_folder.cur_size, 0) + p_kib);
    IF p_writers >= 0 AND p_files > 0 AND v_files > coalesce(v_folder.max_files, c_most) THEN
        RETURN 'files';
    END IF;
    IF p_writers >= 0 AND p_kib > 0 AND v_kib > coalesce(v_folder.max_size, c_most) THEN
        RETURN 'size';
    END IF;
    UPDATE vfolders
    SET num_files = least(v_files, c_most),
        cur_size = least(v_kib, c_most),
        last_used = now(),
        writers = greatest(0, writers + p_writers),
        writers_since = CASE WHEN p_writers > 0 THEN now() ELSE writers_since END,
        writes = writes + greatest(0, p_writers)
    WHERE id = p_id;
    RETURN 'ok';
END
$$;

-- Sets what a folder holds to what was found in it, unless somebody changed it since `p_writes` was read. A change
-- that began an hour ago died with its process. Answers whether it was set.
CREATE FUNCTION backendai_vfolder_recount(p_id uuid, p_writes bigint, p_files bigint, p_kib bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vfolders
    SET num_files = least(p_files, 2147483647), cur_size = least(p_kib, 2147483647), writers = 0
    WHERE id = p_id AND writes = p_writes
      AND (writers = 0 OR writers_since < now() - interval '1 hour');
    RETURN FOUND;
END
$$;
