import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;

/** A participant over PostgreSQL: see README.md and docs/protocol.md, whose rules are named below. */
public class Participant {
  static ProducerRecord<String, byte[]> reply(Db db, Map<String, String> h, byte[] value) throws Exception {
    Inbox.Answer a;
    try {
      a = Inbox.answer(db, h, value);
      db.connection().commit();
    } catch (Exception e) {
      db.connection().rollback(); // when this fails too, the process ends and the command comes again
      a = e instanceof Inbox.Expired ? new Inbox.Answer("failed-retriable", Map.of("code", "EXPIRED", "effect", "none"))
          : e instanceof SQLException ? new Inbox.Answer("failed-retriable", Map.of("code", String.valueOf(((SQLException) e).getSQLState())))
          : new Inbox.Answer("failed-fatal", Map.of("code", "BAD_COMMAND"));
    }
    var r = new ProducerRecord<>(h.get("saga-reply-to"), Integer.parseInt(h.get("saga-reply-partition")), h.get("saga-wid"), Inbox.JSON.writeValueAsBytes(a.body()));
    r.headers().add("saga-token", h.get("saga-token").getBytes()).add("saga-outcome", a.outcome().getBytes()).add("content-type", "application/json".getBytes());
    for (String k : List.of("noop", "effect", "code")) if (a.body().containsKey(k)) r.headers().add("saga-" + k, a.body().get(k).getBytes());
    return r;
  }

  public static void main(String[] args) throws Exception {
    String name = System.getenv().getOrDefault("PARTICIPANT", "stock");
    Map<String, Object> client = Map.of("bootstrap.servers", System.getenv("BROKERS"));
    Map<String, Object> reading = new HashMap<>(Map.of("group.id", name, "auto.offset.reset", "earliest", "session.timeout.ms", 6000,
        "max.poll.records", 100, "enable.auto.commit", false, "isolation.level", "read_committed")); // rule 1: not Java's default
    reading.putAll(client);
    Optional.ofNullable(System.getenv("INSTANCE")).ifPresent(i -> reading.put("group.instance.id", i));
    try (var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new ByteArrayDeserializer());
        var producer = new KafkaProducer<>(client, new StringSerializer(), new ByteArraySerializer());
        var connection = DriverManager.getConnection(System.getenv("JDBC_URL"))) {
      connection.setAutoCommit(false);
      consumer.subscribe(List.of("cmd." + name));
      while (true) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (var m : consumer.poll(Duration.ofSeconds(1))) {
          Map<String, String> h = new HashMap<>();
          m.headers().forEach(x -> h.put(x.key(), new String(x.value())));
          if (h.keySet().containsAll(List.of("saga-token", "saga-wid", "saga-reply-to", "saga-reply-partition"))) // else rule 10: nobody to answer
            sent.add(producer.send(reply(new Db(connection), h, m.value() == null ? new byte[0] : m.value())));
        }
        for (var s : sent) s.get(); // an error ends the process: the commands come again
        consumer.commitSync(); // rule 2: after the replies
      }
    }
  }
}
