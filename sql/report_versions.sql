-- Report versions: what was published, as it was. publish_report writes them and nothing changes them.

-- name: get_published_report :one
-- Read a published version, the newest one unless it is named: its row, and its sections as an
-- array of records. No row: the report does not exist or has no such version.
SELECT
    ROW(
        report_versions.run_id,
        report_versions.report_id,
        report_versions.version,
        report_versions.tenant_id,
        report_versions.title,
        report_versions.format,
        report_versions.summary,
        report_versions.metadata,
        report_versions.published_at
    ) AS report,
    ARRAY(
        SELECT
            ROW(
                report_version_sections.slug,
                report_version_sections.position,
                report_version_sections.heading,
                report_version_sections.content,
                report_version_sections.citations,
                report_version_sections.section_version,
                report_version_sections.metadata
            )
        FROM runstore.report_version_sections
        WHERE report_version_sections.run_id = %(run_id)s
            AND report_version_sections.report_id = %(report_id)s
            AND report_version_sections.version = report_versions.version
        ORDER BY (report_version_sections.position, report_version_sections.slug)
    ) AS sections
FROM runstore.report_versions
WHERE report_versions.run_id = %(run_id)s
    AND report_versions.report_id = %(report_id)s
    AND (%(version)s::bigint IS NULL OR report_versions.version = %(version)s)
ORDER BY report_versions.version DESC
LIMIT 1;

-- name: list_report_versions :many
-- List what was published of a report, newest first, without the sections.
SELECT
    run_id,
    report_id,
    version,
    tenant_id,
    title,
    format,
    summary,
    metadata,
    published_at
FROM runstore.report_versions
WHERE run_id = %(run_id)s
    AND report_id = %(report_id)s
    AND (%(before_version)s::bigint IS NULL OR version < %(before_version)s)
ORDER BY version DESC
LIMIT %(row_limit)s;
