/* bound: the library calls a responder cannot do without, and nothing else: one handshake's key exchanges, PRFs, ciphers and random
 * octets by bare OpenSSL, everything fetched beforehand, contexts reused where OpenSSL allows it, nothing parsed, stored or sent.
 * No responder that stands on this library can be quicker.
 */
#ifndef ADIT_BENCH_BOUND_H
#define ADIT_BENCH_BOUND_H

#include "parley.h"

enum bound_part { BOUND_KE, BOUND_ADDKE, BOUND_PRF, BOUND_CIPHER, BOUND_RANDOM, BOUND_PARTS };
extern const char *const bound_names[BOUND_PARTS];

struct bound;
/* Of a handshake with that suite whose datagrams were of these sizes. */
struct bound *bound_new(const struct suite *ike, const struct parley_message *message, size_t n);
void bound_free(struct bound *b);
/* All of it once; adds the nanoseconds of the thread's processor clock. */
void bound_handshake(struct bound *b, uint64_t ret_ns[BOUND_PARTS]);

#endif
