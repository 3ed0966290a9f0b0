/* report: build/bench/report.json, one file that several bench programs fill. What a program does not measure stays as it was.
 *     {"core": {"esp_out_gcm256_1400": {"ns": 150.1, "bare_ns": 121.9, "samples": [...]}}, "scale": {...}, ...}
 */
#ifndef ADIT_BENCH_REPORT_H
#define ADIT_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>

struct report;
/* A file that is missing or no JSON object: begin anew. NULL: no memory. */
struct report *report_open(const char *path);
/* section.name.field = value, with field NULL section.name = value; what is missing of them is made. Once anything fails, report_save() fails. */
void report_number(struct report *r, const char *section, const char *name, const char *field, double value);
void report_samples(struct report *r, const char *section, const char *name, const char *field, const double *v,
                    size_t n);
/* Write and free. False: the old file is unchanged, errno says why. */
bool report_save(struct report *r);

#endif
