/* keys: what the cipher costs when every packet has another key. The keys lie where the datapath has them and are fetched as it
 * fetches them; there is no look-up, no SA, no tunnel. So this is what is left of the cost of many SAs when all else is free.
 */
#ifndef ADIT_BENCH_KEYS_H
#define ADIT_BENCH_KEYS_H

#include "adit/crypto.h"
#include "measure.h"

struct keys;
struct keys *keys_new(struct esp_alg alg, uint32_t n); /* one for each direction of n SAs */
void keys_free(struct keys *k);
void keys_resize(struct keys *k, uint32_t inner_size, size_t batch);
void keys_pass(void *keys, struct series *s); /* s[0] seal, s[1] open */

#endif
