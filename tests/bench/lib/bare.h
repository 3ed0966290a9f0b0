/* bare: the cipher alone, by the quickest library calls there are (ipsec-mb's direct GCM, its job manager for the others): what
 * adit's datapath is measured against. Packets lie where looped.h has them. Where ipsec-mb does not exist: nothing.
 */
#ifndef ADIT_BENCH_BARE_H
#define ADIT_BENCH_BARE_H

#include "adit/crypto.h"
#include "measure.h"

struct bare;
struct bare *bare_new(struct esp_alg alg, uint32_t inner_size, size_t batch); /* NULL: no ipsec-mb here */
void bare_free(struct bare *b);
void bare_pass(void *bare, struct series *s); /* s[0] seal, s[1] open */

#endif
