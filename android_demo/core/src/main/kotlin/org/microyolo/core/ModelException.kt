package org.microyolo.core

/** A model, contract or picture that cannot be used. The message names the file and the reason, in one line. */
class ModelException(message: String) : RuntimeException(message)
