/* The note of who leaves, and the goodbye. */
#ifndef PERIMORTEM_LEAVE_H
#define PERIMORTEM_LEAVE_H

/* When the recorder is there: stay loaded to the end, and know what will be asked then. */
void pmr_prepare_leave(void);

#endif
