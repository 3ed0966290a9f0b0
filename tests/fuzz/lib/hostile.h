/* Packets that nobody should send, in pieces: what may stand inside a tunnel, and behind an outer header. Good packets that were kept
 * are repeated and spoiled. The same dice make the same packets.
 */
#ifndef ADIT_TESTS_HOSTILE_H
#define ADIT_TESTS_HOSTILE_H

#include "adit/wire_ip.h"

#define HOSTILE_KEPT 2048

struct hostile {
    uint64_t dice;
    unsigned count; /* what goes through lengths one by one */
    struct span kept[HOSTILE_KEPT];
    uint8_t kept_proto[HOSTILE_KEPT]; /* GRE, ESP; UDP: IKE */
    size_t n_kept;
};

uint32_t roll(struct hostile *g, uint32_t n); /* 0 .. n-1 */
#define ANY(g, list) ((list)[roll(g, ARRAY_LEN(list))])
struct addr any_addr(struct hostile *g, const char *const *list, size_t n);
#define ANY_ADDR(g, list) any_addr(g, list, ARRAY_LEN(list))

/* Each stays within w. */
void put_random(struct hostile *g, struct wr *w, size_t n);
void put_inner(struct hostile *g, struct wr *w);
void put_options4(struct hostile *g, struct wr *w,
                  size_t at);                           /* into the option-less IPv4 packet from `at` to the end */
struct span any_kept(struct hostile *g, uint8_t proto); /* empty: there is none */
void put_kept(struct hostile *g, struct wr *w, struct span good);
void put_gre_header(struct hostile *g, struct wr *w);
void put_gre(struct hostile *g, struct wr *w);
void put_esp(struct hostile *g, struct wr *w);
void put_natt(struct hostile *g, struct wr *w); /* behind a UDP header, port 4500 */

#endif
