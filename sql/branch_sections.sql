-- Branch sections: the sections that a branch changed, copied when it first wrote to them.
-- A row says which version of the report's section it started from; a merge compares it.
-- A write locks the branch, which must be open, and compares the section's version under that
-- lock: the branch's own, or the report's where the branch has none.

-- name: put_branch_section :one
-- Insert what the branch makes of a section, or replace what it says. No row: the branch does not
-- exist or is not open, its report is gone, or the section's version is another.
WITH branch AS MATERIALIZED (
    SELECT
        run_id,
        id,
        tenant_id,
        report_id
    FROM runstore.branch_reports
    WHERE run_id = %(run_id)s
        AND id = %(branch_id)s
        AND status = 'open'
    FOR NO KEY UPDATE
),

base AS MATERIALIZED (
    SELECT
        report_sections.id,
        coalesce(report_sections.version, 0) AS version
    FROM branch
    INNER JOIN runstore.reports
        ON runstore.run_of(branch.report_id) = reports.run_id AND branch.report_id = reports.id
    LEFT JOIN runstore.report_sections
        ON
            reports.run_id = report_sections.run_id
            AND reports.id = report_sections.report_id
            AND report_sections.slug = %(slug)s
            AND report_sections.status = 'active'
),

section AS (
    INSERT INTO runstore.branch_sections (
        run_id,
        branch_id,
        slug,
        tenant_id,
        section_id,
        base_version,
        position,
        heading,
        content,
        citations,
        version,
        metadata
    )
    SELECT
        branch.run_id,
        branch.id,
        %(slug)s::text,
        branch.tenant_id,
        base.id,
        base.version,
        %(position)s::integer,
        %(heading)s::text,
        %(content)s::text,
        %(citations)s::jsonb,
        base.version + 1,
        %(metadata)s::jsonb
    FROM branch
    CROSS JOIN base
    -- Whether the branch's own version is the expected one is compared below.
    WHERE %(expected_version)s::bigint IS NULL
        OR base.version = %(expected_version)s
        OR EXISTS (
            SELECT
            FROM runstore.branch_sections AS stored
            WHERE stored.run_id = %(run_id)s
                AND stored.branch_id = %(branch_id)s
                AND stored.slug = %(slug)s
        )
    ON CONFLICT (run_id, branch_id, slug) DO UPDATE
        SET
            section_id = CASE branch_sections.status
                WHEN 'reverted' THEN excluded.section_id ELSE branch_sections.section_id
            END,
            base_version = CASE branch_sections.status
                WHEN 'reverted' THEN excluded.base_version ELSE branch_sections.base_version
            END,
            position = CASE branch_sections.status
                WHEN 'changed' THEN coalesce(excluded.position, branch_sections.position) ELSE excluded.position
            END,
            heading = excluded.heading,
            content = excluded.content,
            citations = excluded.citations,
            status = excluded.status,
            version = CASE branch_sections.status
                WHEN 'reverted' THEN greatest(branch_sections.version + 1, excluded.version)
                ELSE branch_sections.version + 1
            END,
            replaced_version = CASE branch_sections.status
                WHEN 'changed' THEN branch_sections.version
                WHEN 'removed' THEN 0
                ELSE excluded.base_version
            END,
            metadata = excluded.metadata,
            created_at = CASE branch_sections.status
                WHEN 'changed' THEN branch_sections.created_at ELSE excluded.created_at
            END,
            updated_at = excluded.updated_at
        WHERE %(expected_version)s::bigint IS NULL
        OR %(expected_version)s = CASE branch_sections.status
            WHEN 'changed' THEN branch_sections.version
            WHEN 'removed' THEN 0
            ELSE excluded.base_version
        END
    RETURNING
        run_id,
        branch_id,
        slug,
        version,
        base_version,
        updated_at
),

written AS (
    UPDATE runstore.branch_reports
    SET updated_at = section.updated_at
    FROM section
    WHERE branch_reports.run_id = %(run_id)s
        AND branch_reports.id = %(branch_id)s
        AND branch_reports.run_id = section.run_id
)

SELECT
    section.run_id,
    section.branch_id,
    section.slug,
    section.version,
    section.base_version,
    section.updated_at
FROM section;

-- name: remove_branch_section :one
-- Leave a section out of a branch; one that only the branch has is forgotten. No row: the branch
-- does not exist or is not open, it shows no such section, or the section's version is another.
WITH branch AS MATERIALIZED (
    SELECT
        run_id,
        id,
        tenant_id,
        report_id
    FROM runstore.branch_reports
    WHERE run_id = %(run_id)s
        AND id = %(branch_id)s
        AND status = 'open'
    FOR NO KEY UPDATE
),

base AS MATERIALIZED (
    SELECT
        report_sections.id,
        coalesce(report_sections.version, 0) AS version
    FROM branch
    INNER JOIN runstore.reports
        ON runstore.run_of(branch.report_id) = reports.run_id AND branch.report_id = reports.id
    LEFT JOIN runstore.report_sections
        ON
            reports.run_id = report_sections.run_id
            AND reports.id = report_sections.report_id
            AND report_sections.slug = %(slug)s
            AND report_sections.status = 'active'
),

section AS (
    INSERT INTO runstore.branch_sections (
        run_id,
        branch_id,
        slug,
        tenant_id,
        section_id,
        base_version,
        content,
        status,
        version
    )
    SELECT
        branch.run_id,
        branch.id,
        %(slug)s::text,
        branch.tenant_id,
        base.id,
        base.version,
        '',
        'removed',
        base.version + 1
    FROM branch
    CROSS JOIN base
    WHERE (base.version > 0 AND (%(expected_version)s::bigint IS NULL OR base.version = %(expected_version)s))
        OR EXISTS (
            SELECT
            FROM runstore.branch_sections AS stored
            WHERE stored.run_id = %(run_id)s
                AND stored.branch_id = %(branch_id)s
                AND stored.slug = %(slug)s
        )
    ON CONFLICT (run_id, branch_id, slug) DO UPDATE
        SET
            section_id = CASE branch_sections.status
                WHEN 'reverted' THEN excluded.section_id ELSE branch_sections.section_id
            END,
            base_version = CASE branch_sections.status
                WHEN 'reverted' THEN excluded.base_version ELSE branch_sections.base_version
            END,
            position = NULL,
            heading = NULL,
            content = '',
            citations = '[]',
            status = CASE
                WHEN branch_sections.status = 'changed' AND branch_sections.base_version = 0 THEN 'reverted'
                ELSE 'removed'
            END,
            version = CASE branch_sections.status
                WHEN 'reverted' THEN greatest(branch_sections.version + 1, excluded.version)
                ELSE branch_sections.version + 1
            END,
            replaced_version = CASE branch_sections.status
                WHEN 'changed' THEN branch_sections.version
                ELSE excluded.base_version
            END,
            metadata = '{}',
            updated_at = excluded.updated_at
        WHERE (
            branch_sections.status = 'changed' OR (branch_sections.status = 'reverted' AND excluded.base_version > 0)
        )
        AND (
            %(expected_version)s::bigint IS NULL
            OR %(expected_version)s = CASE branch_sections.status
                WHEN 'changed' THEN branch_sections.version
                ELSE excluded.base_version
            END
        )
    RETURNING
        run_id,
        branch_id,
        slug,
        version,
        base_version,
        updated_at
),

written AS (
    UPDATE runstore.branch_reports
    SET updated_at = section.updated_at
    FROM section
    WHERE branch_reports.run_id = %(run_id)s
        AND branch_reports.id = %(branch_id)s
        AND branch_reports.run_id = section.run_id
)

SELECT
    section.run_id,
    section.branch_id,
    section.slug,
    section.version,
    section.base_version,
    section.updated_at
FROM section;

-- name: revert_branch_section :one
-- Forget what a branch changed of a section: it shows the report's again. No row: the branch does
-- not exist or is not open, or it changed no such section.
WITH branch AS MATERIALIZED (
    SELECT
        run_id,
        id
    FROM runstore.branch_reports
    WHERE run_id = %(run_id)s
        AND id = %(branch_id)s
        AND status = 'open'
    FOR NO KEY UPDATE
),

section AS (
    UPDATE runstore.branch_sections
    SET
        position = NULL,
        heading = NULL,
        content = '',
        citations = '[]',
        status = 'reverted',
        replaced_version = branch_sections.version,
        metadata = '{}',
        updated_at = (SELECT clock_timestamp())
    FROM branch
    WHERE branch_sections.run_id = %(run_id)s
        AND branch_sections.branch_id = %(branch_id)s
        AND branch_sections.slug = %(slug)s
        AND branch_sections.run_id = branch.run_id
        AND branch_sections.status <> 'reverted'
    RETURNING
        branch_sections.run_id,
        branch_sections.branch_id,
        branch_sections.slug,
        branch_sections.version,
        branch_sections.base_version,
        branch_sections.updated_at
),

written AS (
    UPDATE runstore.branch_reports
    SET updated_at = section.updated_at
    FROM section
    WHERE branch_reports.run_id = %(run_id)s
        AND branch_reports.id = %(branch_id)s
        AND branch_reports.run_id = section.run_id
)

SELECT
    section.run_id,
    section.branch_id,
    section.slug,
    section.version,
    section.base_version,
    section.updated_at
FROM section;

-- name: find_removed_branch_section :maybe
-- Find what was left of a section that a branch removed or reverted. No row: it changed no such
-- section, or shows what it made of it.
SELECT
    run_id,
    branch_id,
    slug,
    version,
    base_version,
    updated_at
FROM runstore.branch_sections
WHERE run_id = %(run_id)s
    AND branch_id = %(branch_id)s
    AND slug = %(slug)s
    AND status <> 'changed';

-- name: find_written_branch_section :maybe
-- Find what the last write of a branch's section left, a put or a removal, that found this version of
-- it. No row: it found another, or was no such write.
SELECT
    run_id,
    branch_id,
    slug,
    version,
    base_version,
    updated_at
FROM runstore.branch_sections
WHERE run_id = %(run_id)s
    AND branch_id = %(branch_id)s
    AND slug = %(slug)s
    AND (status = 'changed') = %(shown)s::boolean
    AND coalesce(replaced_version, version - 1) = %(expected_version)s::bigint;
