-- Reports: the working text of what a run writes for people to read.
-- A draft may be written to; a published one may not, until it is revised, which makes it the
-- draft of the next version. What publishes a version also copies it, and nothing changes the copy.
-- Whoever writes to a report, or to its sections, locks the report's row first.

-- name: create_report :one
-- Insert a draft without sections. No row: the run does not exist, or the id is taken.
INSERT INTO runstore.reports (
    run_id,
    id,
    tenant_id,
    title,
    format,
    summary,
    metadata
)
SELECT
    runs.id,
    %(id)s::uuid,
    runs.tenant_id,
    %(title)s::text,
    %(format)s::text,
    %(summary)s::text,
    %(metadata)s::jsonb
FROM runstore.runs
WHERE runs.id = %(run_id)s
ON CONFLICT (run_id, id) DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: get_report :one
-- Read a report's working text: its row, and its sections as an array of records in the column
-- order of their own queries. No row: it does not exist.
SELECT
    ROW(
        reports.run_id,
        reports.id,
        reports.tenant_id,
        reports.title,
        reports.format,
        reports.summary,
        reports.status,
        reports.version,
        reports.revision,
        reports.published_version,
        reports.metadata,
        reports.created_at,
        reports.updated_at,
        reports.published_at,
        reports.archived_at
    ) AS report,
    ARRAY(
        SELECT
            ROW(
                report_sections.run_id,
                report_sections.id,
                report_sections.tenant_id,
                report_sections.report_id,
                report_sections.slug,
                report_sections.position,
                report_sections.heading,
                report_sections.content,
                report_sections.citations,
                report_sections.version,
                report_sections.metadata,
                report_sections.created_at,
                report_sections.updated_at
            )
        FROM runstore.report_sections
        WHERE report_sections.run_id = %(run_id)s
            AND report_sections.report_id = %(report_id)s
            AND report_sections.status = 'active'
        ORDER BY (report_sections.position, report_sections.slug)
    ) AS sections
FROM runstore.reports
WHERE reports.run_id = %(run_id)s
    AND reports.id = %(report_id)s;

-- name: list_reports :many
-- List a run's reports, or a tenant's, those of one thread when it is named, newest first.
-- It is planned for its filters each time, so that each of them finds its index.
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
    reports.published_version,
    reports.metadata,
    reports.created_at,
    reports.updated_at,
    reports.published_at,
    reports.archived_at
FROM runstore.reports
WHERE (
    (%(run_id)s::uuid IS NOT NULL AND %(tenant_id)s::text IS NULL)
    OR reports.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
)
AND (%(run_id)s::uuid IS NULL OR reports.run_id = %(run_id)s)
AND (
    %(thread_id)s::text IS NULL
    OR reports.run_id IN (
        SELECT runs.id
        FROM runstore.runs
        WHERE runs.thread_id = %(thread_id)s
            AND (%(run_id)s::uuid IS NULL OR runs.id = %(run_id)s)
            AND (
                (%(run_id)s::uuid IS NOT NULL AND %(tenant_id)s::text IS NULL)
                OR runs.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
            )
    )
)
AND (%(status)s::text IS NULL OR reports.status = %(status)s)
AND (
    %(before_created_at)s::timestamptz IS NULL
    OR (reports.created_at, reports.id) < (%(before_created_at)s, %(before_id)s::uuid)
)
ORDER BY
    reports.created_at DESC,
    reports.id DESC
LIMIT %(row_limit)s;

-- name: update_report :one
-- Change title, format or summary of a draft; what is NULL stays as it is.
-- No row: it does not exist, is no draft, or its revision is another.
UPDATE runstore.reports
SET
    title = coalesce(%(title)s::text, title),
    format = coalesce(%(format)s::text, format),
    summary = coalesce(%(summary)s::text, summary),
    revision = revision + 1,
    updated_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(report_id)s
    AND status = 'draft'
    AND (%(expected_revision)s::bigint IS NULL OR revision = %(expected_revision)s)
RETURNING
    run_id,
    id,
    status,
    version,
    revision,
    updated_at;

-- name: lock_report :one
-- Lock a report until the end of the transaction, so that a later statement of it sees all that
-- was written before. No row: it does not exist.
SELECT
    run_id,
    id,
    status,
    version,
    revision,
    updated_at
FROM runstore.reports
WHERE run_id = %(run_id)s
    AND id = %(report_id)s
FOR NO KEY UPDATE;

-- name: publish_report :one
-- Publish a draft, which must be locked, and copy it as a version. No row: it is no draft.
WITH report AS (
    UPDATE runstore.reports
    SET
        status = 'published',
        published_version = version,
        published_at = (SELECT clock_timestamp()),
        updated_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND id = %(report_id)s
        AND status = 'draft'
    RETURNING
        run_id,
        id,
        tenant_id,
        title,
        format,
        summary,
        status,
        version,
        revision,
        metadata,
        updated_at,
        published_at
),

published AS (
    INSERT INTO runstore.report_versions (
        run_id,
        report_id,
        version,
        tenant_id,
        title,
        format,
        summary,
        metadata,
        published_at
    )
    SELECT
        report.run_id,
        report.id,
        report.version,
        report.tenant_id,
        report.title,
        report.format,
        report.summary,
        report.metadata,
        report.published_at
    FROM report
),

section AS (
    INSERT INTO runstore.report_version_sections (
        run_id,
        report_id,
        version,
        slug,
        tenant_id,
        position,
        heading,
        content,
        citations,
        section_version,
        metadata
    )
    SELECT
        report_sections.run_id,
        report_sections.report_id,
        report.version,
        report_sections.slug,
        report_sections.tenant_id,
        report_sections.position,
        report_sections.heading,
        report_sections.content,
        report_sections.citations,
        report_sections.version,
        report_sections.metadata
    FROM report
    INNER JOIN runstore.report_sections
        ON report.run_id = report_sections.run_id AND report.id = report_sections.report_id
    WHERE report_sections.run_id = %(run_id)s
        AND report_sections.report_id = %(report_id)s
        AND report_sections.status = 'active'
)

SELECT
    report.run_id,
    report.id,
    report.status,
    report.version,
    report.revision,
    report.updated_at
FROM report;

-- name: revise_report :one
-- Make a published report the draft of its next version. No row: it does not exist or is not published.
UPDATE runstore.reports
SET
    status = 'draft',
    version = version + 1,
    updated_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(report_id)s
    AND status = 'published'
RETURNING
    run_id,
    id,
    status,
    version,
    revision,
    updated_at;

-- name: archive_report :one
-- Archive a report, a draft or published. No row: it does not exist or is archived.
UPDATE runstore.reports
SET
    status = 'archived',
    updated_at = (SELECT clock_timestamp()),
    archived_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(report_id)s
    AND status <> 'archived'
RETURNING
    run_id,
    id,
    status,
    version,
    revision,
    updated_at;
