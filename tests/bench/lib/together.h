/* together: several threads, each with a worker of one datapath, encapsulate what comes from their TUNs, and nothing is handed on: of tunnels
 * that belong to one worker each thread takes its own. What is timed is the whole: how many packets
 * they pass in a second, and what one costs.
 */
#ifndef ADIT_BENCH_TOGETHER_H
#define ADIT_BENCH_TOGETHER_H

#include "looped.h"

#define TOGETHER_MAX 4

struct together;
struct together *together_new(const struct looped_config *config, unsigned threads);
void together_free(struct together *t);
struct together_rate {
    double pps; /* of all threads, by the wall clock */
    double ns;  /* of processor time per packet */
};
struct together_rate together_run(struct together *t, uint64_t ns); /* for so long */

#endif
