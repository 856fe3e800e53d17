-- Branch reports: what a forked run makes of a report of a run that it was forked from.
-- A branch belongs to the fork's tree and its report to the other run's, so that these statements
-- name both runs. A branch is overlaid on the report as it is now; what get_branch_report shows is
-- what merge_branch_report writes. Locks are taken on the branch, then on the report.
-- A branch that is merged or discarded never changes again.

-- name: create_branch_report :one
-- Insert an open branch. No row: the forked run or the report does not exist, the report is
-- archived, the run was not forked from the report's, or the id or the name is taken.
WITH report AS MATERIALIZED (
    SELECT
        run_id,
        id,
        version
    FROM runstore.reports
    WHERE run_id = %(report_run_id)s
        AND id = %(report_id)s
        AND status <> 'archived'
)

INSERT INTO runstore.branch_reports (
    run_id,
    id,
    tenant_id,
    report_id,
    name,
    base_version,
    metadata
)
SELECT
    runs.id,
    %(id)s::uuid,
    runs.tenant_id,
    report.id,
    %(name)s::text,
    report.version,
    %(metadata)s::jsonb
FROM runstore.runs
CROSS JOIN report
WHERE runs.id = %(run_id)s
    AND (
        runs.forked_from_run_id = %(report_run_id)s
        OR EXISTS (
            SELECT
            FROM runstore.run_segments
            WHERE run_segments.run_id = %(run_id)s
                AND run_segments.source_run_id = %(report_run_id)s
        )
    )
ON CONFLICT DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: get_branch_report :one
-- Read a branch, its report's row, the sections of the report with the branch's in their place, and
-- those that both have changed since. No row: the branch does not exist.
-- not null: sections[].slug, sections[].position, sections[].content, sections[].citations
-- not null: sections[].version, sections[].metadata, sections[].updated_at
-- not null: conflicts[].found_version
WITH branch AS MATERIALIZED (
    SELECT
        run_id,
        id,
        tenant_id,
        report_id,
        name,
        base_version,
        status,
        metadata,
        created_at,
        updated_at,
        merged_at,
        discarded_at
    FROM runstore.branch_reports
    WHERE run_id = %(run_id)s
        AND id = %(branch_id)s
),

report AS MATERIALIZED (
    SELECT
        reports.run_id,
        reports.id,
        reports.tenant_id,
        reports.title,
        reports.format,
        reports.summary,
        reports.status,
        reports.version,
        reports.revision,
        reports.last_position,
        reports.published_version,
        reports.metadata,
        reports.created_at,
        reports.updated_at,
        reports.published_at,
        reports.archived_at
    FROM branch
    INNER JOIN runstore.reports
        ON runstore.run_of(branch.report_id) = reports.run_id AND branch.report_id = reports.id
),

base AS MATERIALIZED (
    SELECT
        report_sections.slug,
        report_sections.position,
        report_sections.heading,
        report_sections.content,
        report_sections.citations,
        report_sections.version,
        report_sections.metadata,
        report_sections.updated_at
    FROM report
    INNER JOIN runstore.report_sections
        ON report.run_id = report_sections.run_id AND report.id = report_sections.report_id
    WHERE report_sections.status = 'active'
),

own AS MATERIALIZED (
    SELECT
        slug,
        base_version,
        position,
        heading,
        content,
        citations,
        status,
        version,
        metadata,
        created_at,
        updated_at
    FROM runstore.branch_sections
    WHERE run_id = %(run_id)s
        AND branch_id = %(branch_id)s
        AND status <> 'reverted'
),

overlay AS MATERIALIZED (
    SELECT
        own.slug,
        coalesce(
            own.position,
            base.position,
            report.last_position
            + row_number() OVER (
                PARTITION BY own.position IS NULL AND base.slug IS NULL
                ORDER BY own.created_at, own.slug
            )
        ) AS position,
        own.heading,
        own.content,
        own.citations,
        own.version,
        own.base_version,
        own.metadata,
        own.updated_at
    FROM own
    CROSS JOIN report
    LEFT JOIN base ON own.slug = base.slug
    WHERE own.status = 'changed'
    UNION ALL
    SELECT
        base.slug,
        base.position,
        base.heading,
        base.content,
        base.citations,
        base.version,
        NULL AS base_version,
        base.metadata,
        base.updated_at
    FROM base
    WHERE NOT EXISTS (SELECT FROM own WHERE own.slug = base.slug)
)

SELECT
    ROW(
        branch.run_id,
        branch.id,
        branch.tenant_id,
        branch.report_id,
        branch.name,
        branch.base_version,
        branch.status,
        branch.metadata,
        branch.created_at,
        branch.updated_at,
        branch.merged_at,
        branch.discarded_at
    ) AS branch,
    (
        SELECT
            ROW(
                report.run_id,
                report.id,
                report.tenant_id,
                report.title,
                report.format,
                report.summary,
                report.status,
                report.version,
                report.revision,
                report.published_version,
                report.metadata,
                report.created_at,
                report.updated_at,
                report.published_at,
                report.archived_at
            )
        FROM report
    ) AS report,
    ARRAY(
        SELECT
            ROW(
                overlay.slug,
                overlay.position::integer,
                overlay.heading,
                overlay.content,
                overlay.citations,
                overlay.version,
                overlay.base_version,
                overlay.metadata,
                overlay.updated_at
            )
        FROM overlay
        ORDER BY (overlay.position, overlay.slug)
    ) AS sections,
    ARRAY(
        SELECT
            ROW(
                own.slug,
                own.base_version,
                coalesce(base.version, 0)
            )
        FROM own
        LEFT JOIN base ON own.slug = base.slug
        WHERE branch.status = 'open'
            AND own.base_version <> coalesce(base.version, 0)
        ORDER BY own.slug
    ) AS conflicts
FROM branch;

-- name: list_branch_reports :many
-- List the branches of a report, or of a forked run, oldest first.
SELECT
    run_id,
    id,
    tenant_id,
    report_id,
    name,
    base_version,
    status,
    metadata,
    created_at,
    updated_at,
    merged_at,
    discarded_at
FROM runstore.branch_reports
WHERE (%(report_id)s::uuid IS NULL OR report_id = %(report_id)s)
    AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_created_at)s, %(after_id)s::uuid)
    )
ORDER BY
    created_at,
    id
LIMIT %(row_limit)s;

-- name: find_named_branch_report :maybe
-- Find the branch of a name that a run has of a report. No row: it has none.
SELECT id
FROM runstore.branch_reports
WHERE run_id = %(run_id)s
    AND report_id = %(report_id)s
    AND name = %(name)s;

-- name: lock_branch_report :one
-- Lock a branch until the end of the transaction, so that a later statement of it sees all that
-- was written before. No row: it does not exist.
SELECT
    run_id,
    id,
    report_id,
    status,
    updated_at,
    discarded_at
FROM runstore.branch_reports
WHERE run_id = %(run_id)s
    AND id = %(branch_id)s
FOR NO KEY UPDATE;

-- name: merge_branch_report :one
-- Write what a branch changed into its report, and close the branch; both must be locked.
-- No row: the branch is not open, the report is no draft, or both changed a section.
WITH base AS MATERIALIZED (
    SELECT
        slug,
        position,
        version
    FROM runstore.report_sections
    WHERE run_id = %(report_run_id)s
        AND report_id = %(report_id)s
        AND status = 'active'
),

own AS MATERIALIZED (
    SELECT
        slug,
        base_version,
        position,
        heading,
        content,
        citations,
        status,
        metadata,
        created_at
    FROM runstore.branch_sections
    WHERE run_id = %(run_id)s
        AND branch_id = %(branch_id)s
        AND status <> 'reverted'
),

branch AS (
    UPDATE runstore.branch_reports
    SET
        status = 'merged',
        updated_at = (SELECT clock_timestamp()),
        merged_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND id = %(branch_id)s
        AND status = 'open'
        AND NOT EXISTS (
            SELECT
            FROM own
            LEFT JOIN base ON own.slug = base.slug
            WHERE own.base_version <> coalesce(base.version, 0)
        )
    RETURNING merged_at
),

report AS MATERIALIZED (
    SELECT
        reports.run_id,
        reports.id,
        reports.tenant_id,
        reports.last_position,
        branch.merged_at
    FROM runstore.reports
    CROSS JOIN branch
    WHERE reports.run_id = %(report_run_id)s
        AND reports.id = %(report_id)s
        AND reports.status = 'draft'
),

changed AS (
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
        metadata,
        created_at,
        updated_at
    )
    SELECT
        report.run_id,
        runstore.new_child_id(report.run_id),
        report.tenant_id,
        report.id,
        own.slug,
        coalesce(
            own.position,
            base.position,
            report.last_position
            + row_number() OVER (
                PARTITION BY own.position IS NULL AND base.slug IS NULL
                ORDER BY own.created_at, own.slug
            )
        ),
        own.heading,
        own.content,
        own.citations,
        own.metadata,
        report.merged_at,
        report.merged_at
    FROM own
    CROSS JOIN report
    LEFT JOIN base ON own.slug = base.slug
    WHERE own.status = 'changed'
    ON CONFLICT (run_id, report_id, slug) DO UPDATE
        SET
            position = excluded.position,
            heading = excluded.heading,
            content = excluded.content,
            citations = excluded.citations,
            status = excluded.status,
            version = report_sections.version + 1,
            replaced_version = CASE report_sections.status WHEN 'active' THEN report_sections.version ELSE 0 END,
            metadata = excluded.metadata,
            updated_at = excluded.updated_at
    RETURNING position
),

removed AS (
    UPDATE runstore.report_sections
    SET
        heading = NULL,
        content = '',
        citations = '[]',
        status = 'removed',
        version = report_sections.version + 1,
        replaced_version = report_sections.version,
        metadata = '{}',
        updated_at = report.merged_at
    FROM own
    CROSS JOIN report
    WHERE report_sections.run_id = %(report_run_id)s
        AND report_sections.report_id = %(report_id)s
        AND report_sections.slug = own.slug
        AND own.status = 'removed'
),

written AS (
    UPDATE runstore.reports
    SET
        revision = reports.revision + changes.made,
        last_position = greatest(reports.last_position, changes.last_position),
        updated_at = report.merged_at
    FROM report
    CROSS JOIN (
        SELECT
            least(count(*), 1) AS made,
            (SELECT max(changed.position) FROM changed) AS last_position
        FROM own
    ) AS changes
    WHERE reports.run_id = %(report_run_id)s
        AND reports.id = %(report_id)s
        AND reports.run_id = report.run_id
    RETURNING
        reports.run_id,
        reports.id,
        reports.status,
        reports.version,
        reports.revision,
        reports.updated_at
)

SELECT
    written.run_id,
    written.id,
    written.status,
    written.version,
    written.revision,
    written.updated_at
FROM written;

-- name: discard_branch_report :one
-- Give an open branch up. No row: it does not exist or is not open.
-- not null: finished_at
UPDATE runstore.branch_reports
SET
    status = 'discarded',
    updated_at = (SELECT clock_timestamp()),
    discarded_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(branch_id)s
    AND status = 'open'
RETURNING
    run_id,
    id,
    discarded_at AS finished_at;
