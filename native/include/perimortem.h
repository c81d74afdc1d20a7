/* perimortem.h: report that your program is alive, so that the monitor can tell when and how it stopped.
 *
 * Every function is thread-safe, never blocks on the monitor, never raises a signal and never ends
 * the program. Without a recorder (no directory, disk full, after fork) every call does nothing.
 * A beat is one clock read and one store: no system call. See docs/recorder.md.
 *
 *     perimortem_open();
 *     int frame = perimortem_heartbeat("render", 2.0);
 *     while (running) { draw(); perimortem_beat(frame); }
 */
#ifndef PERIMORTEM_H
#define PERIMORTEM_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#if defined(PERIMORTEM_BUILDING)
#define PERIMORTEM_API __declspec(dllexport)
#else
#define PERIMORTEM_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define PERIMORTEM_API __attribute__((visibility("default")))
#else
#define PERIMORTEM_API
#endif

#define PERIMORTEM_VERSION "0.1.0"

/* Create this process's recorder file and start the thread that beats "process" and emits
 * "system.stats" once a second. Returns 0, or an errno value; calling it again returns 0.
 * Directory: $PERIMORTEM_RUN_DIR, else $XDG_RUNTIME_DIR/perimortem, else /run/perimortem for root,
 * else /tmp/perimortem-<uid>; on Windows else %LOCALAPPDATA%\\perimortem\\run. */
PERIMORTEM_API int perimortem_open(void);

/* Path of this process's recorder file, or NULL if there is none. */
PERIMORTEM_API const char *perimortem_recorder_path(void);

/* Register (or look up) the heartbeat `name` (at most 31 bytes). It is judged hung when there was no
* beat for `threshold_s` seconds; 0 takes the monitor's default. Returns a handle for the calls
* below, or -1 if there is no recorder or all 64 are taken; -1 is a valid handle that does
* nothing. */
PERIMORTEM_API int perimortem_heartbeat(const char *name, double threshold_s);

/* Beat: the work behind this heartbeat progresses. */
PERIMORTEM_API void perimortem_beat(int heartbeat);

/* Suspend the judgement until perimortem_resume(): for a modal wait of unknown length. */
PERIMORTEM_API void perimortem_pause(int heartbeat);

/* Resume the judgement, counting from now. */
PERIMORTEM_API void perimortem_resume(int heartbeat);

/* Suspend the judgement for the next `seconds`: for an operation of known length. */
PERIMORTEM_API void perimortem_extend(int heartbeat, double seconds);

/* This heartbeat has ended on purpose and is no longer watched. */
PERIMORTEM_API void perimortem_retire(int heartbeat);

/* Write one event: a name (at most 31 bytes) and a JSON object as text (at most 456 bytes; a longer
* one is replaced by its size). Returns 0, or -1 if it was not written completely. */
PERIMORTEM_API int perimortem_emit(const char *name, const char *json);

/* This process is about to end on purpose (the orderly-exit marker). Called automatically by exit() and by
* return from main; on Windows by ExitProcess, if the program itself calls it. */
PERIMORTEM_API void perimortem_goodbye(int status);

/* How perimortem_spawn_and_attach() finds the monitor; zero takes the default. */
typedef struct perimortem_options {
  /* Program and first arguments, ended by NULL; default: "perimortem" on PATH. */
  const char *const *monitor_command;
  double connect_timeout_s; /* default 5 */
  double answer_timeout_s;  /* how long a crashed process waits for its dump; default 10 */
} perimortem_options;

typedef struct perimortem_guard perimortem_guard;

/* Open the recorder, find the monitor or start it, and install the crash handler: from now on a crash is
* reported to the monitor, waits until its dump is on disk, and then continues as it would without us.
* `options` may be NULL. Returns NULL on failure, which the program may ignore: the reason is printed once
* on stderr, and perimortem_attach_error() returns it. May be called again: each guard is released once. */
PERIMORTEM_API perimortem_guard *perimortem_spawn_and_attach(const perimortem_options *options);

/* Remove the crash handler with the last guard; the monitor is notified. NULL does nothing. */
PERIMORTEM_API void perimortem_release(perimortem_guard *guard);

/* Why the last perimortem_spawn_and_attach() failed, or NULL. */
PERIMORTEM_API const char *perimortem_attach_error(void);

#ifdef __cplusplus
}
#endif
#endif
