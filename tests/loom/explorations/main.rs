//! Every order in which the threads of a registration can go on.

mod device;
mod halves;
mod line;
mod messages;
mod passive;
mod several;
mod threaded;
mod work;
