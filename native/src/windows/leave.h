/* The exit note, and the goodbye. */
#ifndef PERIMORTEM_LEAVE_H
#define PERIMORTEM_LEAVE_H

/* Once the recorder exists: stay loaded to the end, and prepare what will be needed then. */
void pmr_prepare_leave(void);

#endif
