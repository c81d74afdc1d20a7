/* A lock for rare operations: opening the recorder, registering a heartbeat. */
#ifndef PERIMORTEM_LOCK_H
#define PERIMORTEM_LOCK_H

#ifdef _WIN32
#include <windows.h>
typedef SRWLOCK pmr_lock;
#define PMR_UNLOCKED SRWLOCK_INIT
static inline void pmr_acquire(pmr_lock *lock) { AcquireSRWLockExclusive(lock); }
static inline void pmr_release(pmr_lock *lock) { ReleaseSRWLockExclusive(lock); }
#else
#include <pthread.h>
typedef pthread_mutex_t pmr_lock;
#define PMR_UNLOCKED PTHREAD_MUTEX_INITIALIZER
static inline void pmr_acquire(pmr_lock *lock) { pthread_mutex_lock(lock); }
static inline void pmr_release(pmr_lock *lock) { pthread_mutex_unlock(lock); }
#endif

#endif
