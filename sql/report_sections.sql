-- Report sections: the working text of a report, part by part.
-- A write locks the report, which must be a draft, and compares the section's version under that
-- lock; a write that is refused changes nothing. A removed section keeps its row, without its
-- text, so that a version is never given out twice.

-- name: put_report_section :one
-- Insert a section, or replace what it says. Without a position it keeps its place, and a new one
-- comes last. No row: the report does not exist or is no draft, or the section's version is another.
WITH report AS MATERIALIZED (
    SELECT
        run_id,
        id,
        tenant_id,
        last_position
    FROM runstore.reports
    WHERE run_id = %(run_id)s
        AND id = %(report_id)s
        AND status = 'draft'
    FOR NO KEY UPDATE
),

section AS (
    INSERT INTO runstore.report_sections (
        run_id,
        id,
        tenant_id,
        report_id,
        slug,
        position,
        heading,
        content,
        citations,
        metadata
    )
    SELECT
        report.run_id,
        %(id)s::uuid,
        report.tenant_id,
        report.id,
        %(slug)s::text,
        coalesce(%(position)s::integer, report.last_position + 1),
        %(heading)s::text,
        %(content)s::text,
        %(citations)s::jsonb,
        %(metadata)s::jsonb
    FROM report
    -- Who expects a version of a section must find its row, which is never deleted.
    WHERE coalesce(%(expected_version)s::bigint, 0) = 0
        OR EXISTS (
            SELECT
            FROM runstore.report_sections AS stored
            WHERE stored.run_id = %(run_id)s
                AND stored.report_id = %(report_id)s
                AND stored.slug = %(slug)s
        )
    ON CONFLICT (run_id, report_id, slug) DO UPDATE
        SET
            position = CASE
                WHEN %(position)s::integer IS NULL AND report_sections.status = 'active'
                    THEN report_sections.position
                ELSE excluded.position
            END,
            heading = excluded.heading,
            content = excluded.content,
            citations = excluded.citations,
            status = excluded.status,
            version = report_sections.version + 1,
            replaced_version = CASE report_sections.status WHEN 'active' THEN report_sections.version ELSE 0 END,
            metadata = excluded.metadata,
            updated_at = excluded.updated_at
        WHERE %(expected_version)s::bigint IS NULL
        OR %(expected_version)s = CASE report_sections.status WHEN 'active' THEN report_sections.version ELSE 0 END
    RETURNING
        run_id,
        id,
        slug,
        position,
        version,
        updated_at
),

written AS (
    UPDATE runstore.reports
    SET
        revision = reports.revision + 1,
        last_position = greatest(reports.last_position, section.position),
        updated_at = section.updated_at
    FROM section
    WHERE reports.run_id = %(run_id)s
        AND reports.id = %(report_id)s
        AND reports.run_id = section.run_id
)

SELECT
    section.run_id,
    section.id,
    section.slug,
    section.position,
    section.version,
    section.updated_at
FROM section;

-- name: list_report_sections :many
-- List a report's sections in their order.
SELECT
    run_id,
    id,
    tenant_id,
    report_id,
    slug,
    position,
    heading,
    content,
    citations,
    version,
    metadata,
    created_at,
    updated_at
FROM runstore.report_sections
WHERE run_id = %(run_id)s
    AND report_id = %(report_id)s
    AND status = 'active'
    AND (
        %(after_position)s::bigint IS NULL
        OR (position, slug) > (%(after_position)s, %(after_slug)s::text)
    )
ORDER BY
    position,
    slug
LIMIT %(row_limit)s;

-- name: order_report_sections :many
-- Number the sections of a locked draft: the named ones first, in the order given, then the others
-- in theirs. No row: it is no draft, or it has no sections.
WITH ranked AS MATERIALIZED (
    SELECT
        report_sections.run_id,
        report_sections.id,
        row_number() OVER (
            ORDER BY
                array_position(%(slugs)b::text[], report_sections.slug),
                report_sections.position,
                report_sections.slug
        ) AS position
    FROM runstore.reports
    INNER JOIN runstore.report_sections
        ON reports.run_id = report_sections.run_id AND reports.id = report_sections.report_id
    WHERE reports.run_id = %(run_id)s
        AND reports.id = %(report_id)s
        AND reports.status = 'draft'
        AND report_sections.run_id = %(run_id)s
        AND report_sections.report_id = %(report_id)s
        AND report_sections.status = 'active'
),

section AS (
    UPDATE runstore.report_sections
    SET position = ranked.position
    FROM ranked
    WHERE report_sections.run_id = %(run_id)s
        AND report_sections.run_id = ranked.run_id
        AND report_sections.id = ranked.id
    RETURNING
        report_sections.run_id,
        report_sections.id,
        report_sections.slug,
        report_sections.position,
        report_sections.version,
        report_sections.updated_at
),

written AS (
    UPDATE runstore.reports
    SET
        revision = reports.revision + 1,
        last_position = ordered.last_position,
        updated_at = (SELECT clock_timestamp())
    FROM (SELECT max(ranked.position) AS last_position FROM ranked) AS ordered
    WHERE reports.run_id = %(run_id)s
        AND reports.id = %(report_id)s
        AND ordered.last_position IS NOT NULL
)

SELECT
    section.run_id,
    section.id,
    section.slug,
    section.position,
    section.version,
    section.updated_at
FROM section
ORDER BY section.position;

-- name: remove_report_section :one
-- Take a section out of a draft. No row: the report does not exist or is no draft, it has no such
-- section, or the section's version is another.
WITH report AS MATERIALIZED (
    SELECT
        run_id,
        id
    FROM runstore.reports
    WHERE run_id = %(run_id)s
        AND id = %(report_id)s
        AND status = 'draft'
    FOR NO KEY UPDATE
),

section AS (
    UPDATE runstore.report_sections
    SET
        heading = NULL,
        content = '',
        citations = '[]',
        status = 'removed',
        version = report_sections.version + 1,
        replaced_version = report_sections.version,
        metadata = '{}',
        updated_at = (SELECT clock_timestamp())
    FROM report
    WHERE report_sections.run_id = %(run_id)s
        AND report_sections.report_id = %(report_id)s
        AND report_sections.slug = %(slug)s
        AND report_sections.run_id = report.run_id
        AND report_sections.status = 'active'
        AND (%(expected_version)s::bigint IS NULL OR report_sections.version = %(expected_version)s)
    RETURNING
        report_sections.run_id,
        report_sections.id,
        report_sections.slug,
        report_sections.position,
        report_sections.version,
        report_sections.updated_at
),

written AS (
    UPDATE runstore.reports
    SET
        revision = reports.revision + 1,
        updated_at = section.updated_at
    FROM section
    WHERE reports.run_id = %(run_id)s
        AND reports.id = %(report_id)s
        AND reports.run_id = section.run_id
)

SELECT
    section.run_id,
    section.id,
    section.slug,
    section.position,
    section.version,
    section.updated_at
FROM section;

-- name: find_written_section :maybe
-- Find what the last write of a section left, a put or a removal, that found this version of it. No row:
-- it found another, or was no such write.
SELECT
    run_id,
    id,
    slug,
    position,
    version,
    updated_at
FROM runstore.report_sections
WHERE run_id = %(run_id)s
    AND report_id = %(report_id)s
    AND slug = %(slug)s
    AND (status = 'active') = %(shown)s::boolean
    AND coalesce(replaced_version, version - 1) = %(expected_version)s::bigint;
