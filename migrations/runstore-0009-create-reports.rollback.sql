-- Drop the reports with their published versions and their branches. Their rows are lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.branch_sections;
DROP TABLE runstore.branch_reports;
DROP TABLE runstore.report_version_sections;
DROP TABLE runstore.report_versions;
DROP TABLE runstore.report_sections;
DROP TABLE runstore.reports;
