/* report: messages of a load, each with its place. */
#ifndef ADIT_CONFIG_REPORT_H
#define ADIT_CONFIG_REPORT_H

#include "adit/config.h"

#define QUOTE_TEXT 96
/* Text of the file for a message: printable ASCII, cut to fit, never a control sequence for the reader's terminal. */
const char *config_quote(struct span s, char ret[QUOTE_TEXT]);
void config_report_add(struct config_report *r, enum config_level level, uint32_t line, uint32_t col,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));
void config_report_sort(struct config_report *r);         /* by level, then place */
bool config_report_failed(const struct config_report *r); /* out of memory: a message may be missing */

#endif
