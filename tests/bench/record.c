/* record: lines of samples on stdin become medians and samples in the report.
 *     record REPORT <LINES      a line: SECTION NAME FIELD SAMPLE...     NAME -: the field is the section's own
 */
#include <string.h>

#include "lib/fatal.h"
#include "lib/report.h"

#define SAMPLES_MAX 64

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    char line[4096], name[128];
    struct report *report = argc == 2 ? report_open(argv[1]) : NULL;
    MUST(report != NULL);
    while (fgets(line, sizeof line, stdin)) {
        double v[SAMPLES_MAX], sorted[SAMPLES_MAX];
        size_t n = 0;
        char *rest = NULL, *section = strtok_r(line, " \n", &rest), *row = strtok_r(NULL, " \n", &rest),
             *field = strtok_r(NULL, " \n", &rest), *word;
        MUST(field != NULL);
        while (n < SAMPLES_MAX && (word = strtok_r(NULL, " \n", &rest)))
            v[n++] = strtod(word, NULL);
        MUST(n > 0);
        memcpy(sorted, v, sizeof sorted);
        qsort(sorted, n, sizeof sorted[0], compare);
        snprintf(name, sizeof name, "%s_samples", field);
        bool own = !strcmp(row, "-");
        report_number(report, section, own ? field : row, own ? NULL : field,
                      (sorted[(n - 1) / 2] + sorted[n / 2]) / 2);
        report_samples(report, section, own ? name : row, own ? NULL : name, v, n);
    }
    MUST(report_save(report));
}
