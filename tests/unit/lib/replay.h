/* Replays captures of two IKEv2 peers through the codec, the key schedule and ESP, and compares every value with what a
 * peer logged. A scenario NAME in DIR: NAME.pcap, NAME.keys.json, NAME.esp_keys.json (optional). Only the shared secrets
 * and the PSK are taken from the log; all else is computed from the packets. */
#ifndef ADIT_TESTS_REPLAY_H
#define ADIT_TESTS_REPLAY_H

#include <stddef.h>
#include <stdio.h>

struct replay_result {
    size_t passed, failed;           /* checks */
    size_t ike_packets, esp_packets; /* authenticated and decrypted */
};
/* One TAP line per check to `tap` (NULL: none), numbered on from ret's counts, which are added to. */
void replay_scenario(const char *dir, const char *name, FILE *tap, struct replay_result *ret);
/* All scenarios of the folder in order of name; a folder without any is a failed check. */
void replay_folder(const char *dir, FILE *tap, struct replay_result *ret);

#endif
