/* lookup: what finding a route or an SA costs, and what a route costs to keep.
 */
#ifndef ADIT_BENCH_LOOKUP_H
#define ADIT_BENCH_LOOKUP_H

#include "report.h"

void lookup(struct report *report); /* measures, prints, and fills the report's "scale" */

#endif
