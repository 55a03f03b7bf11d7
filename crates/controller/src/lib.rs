//! milena-controller.
